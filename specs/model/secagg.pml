/*
 * The rounds of secure aggregation with a malicious server, explored by SPIN for small cohorts.
 * README.md beside this file says what is modelled, what is left out and how to run it.
 *
 * A set of clients is a number: bit v stands for client v. An honest client is a process. The server
 * has no process when it is malicious: whatever a client receives is chosen there and then among
 * everything that the server could have sent by that time. Holding back, dropping, repeating,
 * reordering and telling each client something else are all among these choices. Corrupt clients have
 * no process either: the server holds their shares, and their signatures on every set.
 */

/* The cohort: N clients, degree K (N - 1 is the complete graph, else an even degree on a ring whose
 * positions are the numbers of the clients), threshold T, and the A clients with the highest numbers
 * corrupt. Which ones makes no difference on the complete graph, nor on a ring for A = 1. */
#ifndef N
#define N 4
#endif
#ifndef K
#define K (N - 1)
#endif
#ifndef T
#define T 2
#endif
#ifndef A
#define A 0
#endif

#if T < 1 || T > K
#error "T is 1 to K"
#endif

/* The properties to check, added up: a = 1, b = 2, c = 4, d = 8, e = 16. */
#ifndef CHECK
#define CHECK 31
#endif

#define ALL           ((1 << N) - 1)
#define HONEST        ((1 << (N - A)) - 1)
#define CORRUPT       (ALL & ~HONEST)
#define SET(v)        (1 << (v))
#define HAS(set, v)   (((set) >> (v)) & 1)
#define COUNT(set)    (HAS(set, 0) + HAS(set, 1) + HAS(set, 2) + HAS(set, 3) \
                     + HAS(set, 4) + HAS(set, 5) + HAS(set, 6) + HAS(set, 7))

/* The neighbours of client 0, turned round the ring by v places. Nobody is their own neighbour. */
#if K == N - 1
#define AROUND        (ALL & ~1)
#else
#define AROUND        ((ALL & ~((1 << (N - K / 2)) - 1)) | ((1 << (K / 2 + 1)) - 2))
#endif
#define NEIGHBOURS(v) (((AROUND << (v)) | (AROUND >> (N - (v)))) & ALL)

/* What each honest client has done. */
byte u2[N];             /* whom it masked with, and whose shares it therefore holds */
byte u3[N];             /* the set it signed; 0 before */
byte uploaded;          /* who has sent a masked vector */
byte revealed;          /* who has answered Unmask */
#ifdef SIGNS_TWICE
byte first[N];          /* a set signed before u3 */
#endif
#ifdef REQUEST_DECIDES
byte request[N];        /* the set by which it answered, whatever it signed */
#define ANSWERED(v)   request[v]
#else
#define ANSWERED(v)   u3[v]
#endif

/* ------------------------------------------------------------------------------------------------
 * What an honest client accepts.
 */

/* V-15: before masking, at least t neighbours in its U2. */
#ifdef WITHOUT_U2_THRESHOLD
#define ACCEPTS_U2(v, set) (((set) & ~NEIGHBOURS(v)) == 0)
#else
#define ACCEPTS_U2(v, set) (((set) & ~NEIGHBOURS(v)) == 0 && COUNT(set) >= T)
#endif

/* V-18, V-20, V-21: it is in U3, at least t of its neighbours are, and all of those were in its own U2. The
 * floor on |U3| is left out: up to t + 1 the other conditions imply it, and above it only refuses
 * more. */
#ifdef WITHOUT_MEMBERSHIP
#define IS_MEMBER(v, set) true
#else
#define IS_MEMBER(v, set) HAS(set, v)
#endif
#ifdef WITHOUT_U3_THRESHOLD
#define ENOUGH_MEMBERS(v, set) true
#else
#define ENOUGH_MEMBERS(v, set) (COUNT((set) & NEIGHBOURS(v)) >= T)
#endif
#ifdef WITHOUT_U2_CONDITION
#define MASKED_WITH_ALL(v, set) true
#else
#define MASKED_WITH_ALL(v, set) (((set) & NEIGHBOURS(v) & ~u2[v]) == 0)
#endif
#define ACCEPTS_U3(v, set) (IS_MEMBER(v, set) && ENOUGH_MEMBERS(v, set) && MASKED_WITH_ALL(v, set))

/* V-22: at least t valid signatures on the set that it signed, from distinct neighbours in that
 * set; its own is not counted. Showing every signature that there is serves the server best. */
#ifdef SIGNS_TWICE
#define SIGNS(w, v) ((u3[w] == u3[v] || first[w] == u3[v]) << (w))
#else
#define SIGNS(w, v) ((u3[w] == u3[v]) << (w))
#endif
#if N == 4
#define SIGNERS(v) (SIGNS(0, v) | SIGNS(1, v) | SIGNS(2, v) | SIGNS(3, v))
#elif N == 5
#define SIGNERS(v) (SIGNS(0, v) | SIGNS(1, v) | SIGNS(2, v) | SIGNS(3, v) | SIGNS(4, v))
#elif N == 6
#define SIGNERS(v) (SIGNS(0, v) | SIGNS(1, v) | SIGNS(2, v) | SIGNS(3, v) | SIGNS(4, v) \
                  | SIGNS(5, v))
#elif N == 7
#define SIGNERS(v) (SIGNS(0, v) | SIGNS(1, v) | SIGNS(2, v) | SIGNS(3, v) | SIGNS(4, v) \
                  | SIGNS(5, v) | SIGNS(6, v))
#else
#error "N is 4 to 7"
#endif
#ifdef OWN_SIGNATURE_COUNTED
#define COUNTED(v) (NEIGHBOURS(v) | SET(v))
#else
#define COUNTED(v) NEIGHBOURS(v)
#endif
#ifdef WITHOUT_CONSISTENCY
#define ACCEPTS_SIGNATURES(v) true
#else
#define ACCEPTS_SIGNATURES(v) (COUNT((SIGNERS(v) | CORRUPT) & u3[v] & COUNTED(v)) >= T)
#endif

/* ------------------------------------------------------------------------------------------------
 * What the server knows, and whether the properties hold. Everything here follows from the state
 * above, so it is computed in variables that SPIN does not store.
 */

hidden byte i, j;
hidden byte mask_holders, self_holders;
hidden byte mask_open;      /* whose mask seed the server can open */
hidden byte self_open;      /* whose self-mask seed it can open */
hidden byte agreed;         /* a set on which an honest client answered */
hidden byte stuck;          /* whose vector no sum can contain */
hidden byte summed;         /* who is in some sum that the server can compute */
hidden byte component, before;
hidden byte allowed;
hidden byte property_a, property_b, property_c, property_d, property_e;

/* Opens every secret of which the server has t shares. A corrupt holder has had both its shares since
 * ShareKeys; an honest one gives one share for each neighbour whose box it got: of the self-mask seed
 * for who is in U3, of the mask seed for who is not. */
inline open_secrets() {
    mask_open = 0; self_open = 0;
    i = 0;
    do
    :: i < N ->
        mask_holders = NEIGHBOURS(i) & CORRUPT;
        self_holders = NEIGHBOURS(i) & CORRUPT;
        j = 0;
        do
        :: j < N ->
            if
            :: HAS(revealed, j) && HAS(u2[j], i) && HAS(ANSWERED(j), i) ->
                self_holders = self_holders | SET(j)
            :: HAS(revealed, j) && HAS(u2[j], i) && !HAS(ANSWERED(j), i) ->
                mask_holders = mask_holders | SET(j)
            :: else
            fi;
            j++
        :: else -> break
        od;
        if :: COUNT(mask_holders) >= T -> mask_open = mask_open | SET(i) :: else fi;
        if :: COUNT(self_holders) >= T -> self_open = self_open | SET(i) :: else fi;
        i++
    :: else -> break
    od;
#ifdef ONE_KEY_PAIR
    /* The key that the mask seed gives also opens the boxes in which its owner dealt both shares. */
    self_open = self_open | mask_open;
#endif
}

/* The pairwise masks in v's vector that the server cannot compute: with honest neighbours in v's U2,
 * unless one of the two mask seeds is open. */
#define UNKNOWN_MASKS(v) (HAS(mask_open, v) -> 0 : (u2[v] & HONEST & ~mask_open))
#ifdef WITHOUT_SELF_MASK
#define SELF_MASKED 0
#else
#define SELF_MASKED (HONEST & ~self_open)
#endif

/* Which sums of honest inputs can the server compute? It adds up multiples c[v] of the masked vectors
 * so that every mask it does not know vanishes. An unknown self mask in v's vector asks for c[v] = 0.
 * An unknown pairwise mask of v and w, which one adds and the other subtracts, asks for c[v] = c[w] if
 * both used it, and for c[v] = 0 if only v did. So c is constant on each component of the graph of
 * unknown masks, and zero on a component in which some vector is stuck: it is missing, or keeps its
 * self mask or a pairwise mask that the other end did not use. What the server can compute are exactly
 * the sums over components without such a vector, and combinations of these sums.
 *
 * Property d: each such component is the honest part of a set on which an honest client answered. */
inline find_sums() {
    stuck = (ALL & ~uploaded) | SELF_MASKED;
    i = 0;
    do
    :: i < N ->
        j = 0;
        do
        :: j < N ->
            if
            :: HAS(UNKNOWN_MASKS(i), j) && !HAS(u2[j], i) -> stuck = stuck | SET(i)
            :: else
            fi;
            j++
        :: else -> break
        od;
        i++
    :: else -> break
    od;

    property_d = true;
    summed = 0;
    i = 0;
    do
    :: i < N ->
        component = SET(i); before = 0;
        do
        :: component != before ->
            before = component;
            j = 0;
            do
            :: j < N ->
                if
                :: HAS(before, j) -> component = component | UNKNOWN_MASKS(j)
                :: else
                fi;
                j++
            :: else -> break
            od
        :: else -> break
        od;
        if
        :: (component & stuck) == 0 ->
            summed = summed | component;
            allowed = false;
            j = 0;
            do
            :: j < N ->
                allowed = allowed || (HAS(revealed, j) && (ANSWERED(j) & HONEST) == component);
                j++
            :: else -> break
            od;
            property_d = property_d && allowed
        :: else
        fi;
        i++
    :: else -> break
    od
}

/* Called whenever the server has learnt something: its knowledge only grows, and in this way every
 * property is checked in every state. */
inline judge() {
    d_step {
        open_secrets();
        /* (a) Never both secrets of one honest client. */
        property_a = (mask_open & self_open & HONEST) == 0;
        /* (b) Never the mask seed of an honest client that has answered. */
        property_b = (mask_open & revealed) == 0;
        /* (c) Honest clients that answer agree on U3. */
        property_c = true;
        agreed = 0;
        i = 0;
        do
        :: i < N ->
            if
            :: HAS(revealed, i) && agreed == 0 -> agreed = ANSWERED(i)
            :: HAS(revealed, i) && agreed != 0 ->
                property_c = property_c && ANSWERED(i) == agreed
            :: else
            fi;
            i++
        :: else -> break
        od;
        find_sums();
        skip    /* A d_step must not end in a loop. */
    }
#if CHECK & 1
    assert(property_a);
#endif
#if CHECK & 2
    assert(property_b);
#endif
#if CHECK & 4
    assert(property_c);
#endif
#if CHECK & 8
    assert(property_d);
#endif
}

#ifndef HONEST_SERVER

/* ------------------------------------------------------------------------------------------------
 * Honest clients and a malicious server.
 */

byte choice;

/* Any set that is accepted. None may be left over: the last candidate is all clients, accepted or
 * not, and the caller looks again. */
inline any_set(accepted) {
    choice = 0;
    do
    :: break
    :: d_step {
           choice < ALL -> choice++;
           do
           :: choice < ALL && !(accepted) -> choice++
           :: else -> break
           od
       }
    od
}

/* A message that a client does not accept changes nothing here, as if it had not come, and the server
 * may try another. (A real client gives up, which leaves the server less.) At every step the server may
 * also leave the client waiting for ever. */
proctype Client(byte v) {
await_u2:
    atomic {
        any_set(ACCEPTS_U2(v, choice));
        if
        :: ACCEPTS_U2(v, choice) ->
            u2[v] = choice; choice = 0;
            uploaded = uploaded | SET(v);
            printf("client %d masks with 0x%x\n", v, u2[v]);
            judge()
        :: else -> choice = 0; goto await_u2
        fi
    }
await_u3:
    atomic {
        any_set(ACCEPTS_U3(v, choice));
        if
        :: ACCEPTS_U3(v, choice) ->
            u3[v] = choice; choice = 0;
            printf("client %d signs 0x%x\n", v, u3[v])
        :: else -> choice = 0; goto await_u3
        fi
    }
end_await_signatures:
    atomic {
        if
        :: ACCEPTS_SIGNATURES(v)
#ifdef SIGNS_TWICE
        :: first[v] == 0 -> first[v] = u3[v]; goto await_u3
#endif
        fi;
#ifdef REQUEST_DECIDES
        any_set(true);
        request[v] = choice; choice = 0;
#endif
        revealed = revealed | SET(v);
        printf("client %d answers on 0x%x\n", v, ANSWERED(v));
        judge()
    }
end_answered:
    /* Its state is gone. (Blocks, because SPIN would count the order in which processes end.) */
    false
}

#else

/* ------------------------------------------------------------------------------------------------
 * Property e: an honest server, and clients that fall silent for good at any moment. Everybody counts
 * as honest (A is 0): a corrupt client can do no more to stop the round than fall silent, except
 * for the wrong shares that V-38 names.
 */

#if A != 0
#error "A is 0 with an honest server"
#endif

byte boxes;             /* who has sent its boxes */
byte has_signed;        /* who has signed U3 */
byte silent;            /* who has fallen silent */
byte announced_u2, announced_u3;
bool signatures_relayed;

/* Enough survivors: every client, silent or not, has t neighbours left. Then nobody has fewer than t
 * neighbours in U2, and the server need not remove anybody (V-34). */
#define T_LEFT(v, left) (COUNT(NEIGHBOURS(v) & (left)) >= T)
#ifdef TOO_MANY_DROPS
#define ENOUGH(left) true
#elif N == 4
#define ENOUGH(left) (T_LEFT(0, left) && T_LEFT(1, left) && T_LEFT(2, left) && T_LEFT(3, left))
#elif N == 5
#define ENOUGH(left) (T_LEFT(0, left) && T_LEFT(1, left) && T_LEFT(2, left) && T_LEFT(3, left) \
                   && T_LEFT(4, left))
#elif N == 6
#define ENOUGH(left) (T_LEFT(0, left) && T_LEFT(1, left) && T_LEFT(2, left) && T_LEFT(3, left) \
                   && T_LEFT(4, left) && T_LEFT(5, left))
#else
#error "N is 4 to 6 here"
#endif

/* Waits for a message, or falls silent first. */
inline await(message) {
    if
    :: message
    :: atomic {
           ENOUGH(ALL & ~silent & ~SET(v)) -> silent = silent | SET(v);
           printf("client %d falls silent\n", v);
           goto done
       }
    fi
}

/* Here a client that refuses a message waits for ever, and SPIN reports the deadlock. */
proctype Client(byte v) {
    await(true);
    boxes = boxes | SET(v);

    await(announced_u2 != 0);
    atomic {
        ACCEPTS_U2(v, announced_u2 & NEIGHBOURS(v)) ->
        u2[v] = announced_u2 & NEIGHBOURS(v)
    }
    await(true);
    uploaded = uploaded | SET(v);

    await(announced_u3 != 0);
    atomic {
        ACCEPTS_U3(v, announced_u3) ->
        u3[v] = announced_u3;
        has_signed = has_signed | SET(v)
    }

    await(signatures_relayed);
    atomic {
        ACCEPTS_SIGNATURES(v) ->
        revealed = revealed | SET(v)
    }
done:
    skip
}

/* Closes each round when everybody whom it can still expect has answered. */
proctype Server() {
    atomic {
        (boxes | silent) == ALL -> announced_u2 = boxes
    }
    atomic {
        (announced_u2 & ~uploaded & ~silent) == 0 -> announced_u3 = uploaded;
        printf("U2 is 0x%x, U3 is 0x%x\n", announced_u2, announced_u3)
    }
    atomic {
        (announced_u3 & ~has_signed & ~silent) == 0 -> signatures_relayed = true
    }
    atomic {
        (announced_u3 & ~revealed & ~silent) == 0 -> judge();
        property_e = summed == announced_u3;
#if CHECK & 16
        assert(property_e)
#endif
    }
}
#endif

init {
    atomic {
#ifdef HONEST_SERVER
        run Server();
#endif
        i = 0;
        do
        :: i < N ->
            if
            :: HAS(HONEST, i) -> run Client(i)
            :: else
            fi;
            i++
        :: else -> break
        od
    }
}
