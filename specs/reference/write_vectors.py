"""Writes specs/vectors: python3 specs/reference/write_vectors.py [folder]

Nothing here is drawn: the same bytes come out each time.
"""

import json
import pathlib
import sys

import graph
import masks
import messages as m
import primitives as p
import rounds
import shamir
from selftest import INVALID, MULTIPLES

SEGMENTS = [("few", 3, 20), ("many", 515, 12), ("wide", 3, 40), ("mid", 5, 28)]


def hexed(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: hexed(each) for key, each in value.items()}
    return [hexed(each) for each in value] if isinstance(value, (list, tuple)) else value


# --- Primitives --------------------------------------------------------------------------------------


def primitives():
    def key(i):
        return p.H("client-id", p.le(i, 2))

    identities = []
    for i in range(1, 4):
        public = p.identity_key(key(i))
        credential = m.make_credential(rounds.AUTHORITY_SECRET, public, rounds.FEDERATION, i)
        identities.append(
            {
                "secret": key(i),
                "public": public,
                "id": m.client_id(public),
                "expiry": i,
                "credential": credential,
            }
        )

    graphs = []
    for n, k in [(4, 2), (7, 4), (7, 6), (16, 6), (50, 20), (300, 30)]:
        around = graph.neighbours(graph.SPARSE, key(n), n, k)
        graphs.append({"roster_digest": key(n), "n": n, "k": k, "neighbours": around})

    shares = []
    for k, t in [(2, 2), (5, 3), (9, 9), (40, 21)]:
        coins = p.Coins(key(k)).take(32 * (t - 1))
        shares.append(
            {
                "seed": key(t),
                "threshold": t,
                "coins": key(k),
                "shares": shamir.split(key(t), k, t, coins),
            }
        )

    corrected = []
    for k, t, wrong in [(10, 4, [2, 7, 9]), (7, 5, [1]), (9, 4, [3, 4, 5])]:
        coins = p.Coins(key(k)).take(32 * (t - 1))
        seed, dealt = key(t), shamir.split(key(t), k, t, coins)
        given = [p.H("graph", share) if i + 1 in wrong else share for i, share in enumerate(dealt)]
        found = shamir.correct({i + 1: share for i, share in enumerate(given)}, t)
        corrected.append(
            {
                "threshold": t,
                "shares": given,
                "seed": found and seed,
                "wrong": sorted(found[1]) if found else [],
            }
        )

    expanded = []
    for bits in (1, 7, 20, 24, 25, 32, 33, 64):
        for count in (1, 511, 512, 513):
            mask = masks.expand(key(bits), 2, bits, count)
            digest = p.hashlib.sha256(masks.pack(mask, bits)).digest()
            head = mask[:8]
            expanded.append(
                {
                    "key": key(bits),
                    "segment": 2,
                    "bits": bits,
                    "count": count,
                    "first": head,
                    "last": mask[-1],
                    "sha256_of_packed": digest,
                }
            )

    edges = []
    secret, public = key(9), p.identity_key(key(9))
    parts = (key(1), b"\x05")
    good = p.sign(secret, "survivors-signature", *parts)
    torsion = p.le(p.P - 1, 32)  # (0, -1), of order two
    for comment, a, signature, valid in [
        ("valid", public, good, True),
        ("S + l", public, good[:32] + p.le(p.number(good[32:]) + p.ORDER, 32), False),
        ("another key", p.identity_key(key(8)), good, False),
        ("R changed", public, bytes([good[0] ^ 1]) + good[1:], False),
        (
            "A and R neutral, S = 0: holds without the third rule",
            p.le(1, 32),
            p.le(1, 32) + bytes(32),
            False,
        ),
        ("A of order two", torsion, good, False),
        ("R of order two", public, torsion + good[32:], False),
    ]:
        assert p.verify(a, signature, "survivors-signature", *parts) == valid
        edges.append({"comment": comment, "public": a, "signature": signature, "valid": valid})
    mixed = mixed_order(secret, parts)
    for comment, a, signature in mixed:
        valid = p.verify(a, signature, "survivors-signature", *parts)
        assert not valid, comment
        edges.append({"comment": comment, "public": a, "signature": signature, "valid": valid})

    return {
        "comment": "Building blocks. Every hex string is bytes in order.",
        "ristretto255": {"multiples_of_base": MULTIPLES, "refused": ["00" * 32] + INVALID},
        "identities": {
            "authority": rounds.AUTHORITY_SECRET,
            "federation": rounds.FEDERATION,
            "each": identities,
        },
        "signatures": {"label": "survivors-signature", "parts": parts, "each": edges},
        "graphs": graphs,
        "shares": shares,
        "corrected": corrected,
        "masks": expanded,
        "min_threshold": thresholds(),
    }


def mixed_order(secret, parts):
    """Signatures that hold times eight only: R is off by the point of order two."""
    expanded = p.hashlib.sha512(secret).digest()
    a = p.number(expanded[:32]) & (1 << 254) - 8 | 1 << 254
    public, message = p.identity_key(secret), p.H("survivors-signature", *parts)
    r = 12345
    point = p.add(p.multiply(r, p.BASE), (0, p.P - 1, 1, 0))
    encoded = p.encode_edwards(point)
    h = p.number(p.hashlib.sha512(encoded + public + message).digest())
    return [("R has a component of order two", public, encoded + p.le((r + h * a) % p.ORDER, 32))]


def thresholds():
    out = []
    for model in (1, 2):
        for n, k, corrupt in [
            (3, 2, 0),
            (10, 9, 1),
            (10, 9, 4),
            (10, 4, 1),
            (100, 32, 10),
            (1000, 120, 100),
            (1000, 48, 100),
        ]:
            least = graph.min_threshold(model, n, k, corrupt, 80)
            out.append({"model": model, "n": n, "k": k, "corrupt": corrupt, "threshold": least})
    return out


# --- Whole rounds --------------------------------------------------------------------------------------


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def flip_last(data):
    return data[:-1] + bytes([data[-1] ^ 2])


def bad_box(name, rank, message):
    """Client 1 deals a box to its first neighbour that does not open."""
    return flip(message, 22 + 79) if (name, rank) == ("ShareKeys", 1) else message


def moved_boxes(name, rank, message):
    """Client 1 sends its first two boxes to each other's receiver."""
    if (name, rank) != ("ShareKeys", 1):
        return message
    return message[:22] + message[102:182] + message[22:102] + message[182:]


def one_liar(name, rank, message):
    """Client 2 changes the first share that it reveals."""
    return flip(message, 22 + 1) if (name, rank) == ("Unmask", 2) else message


def many_liars(name, rank, message):
    return flip(message, 22 + 1) if name == "Unmask" and rank in (1, 2, 3) else message


# name, model, kind, clients, degree, threshold, lost, tampering
ROUNDS = [
    ("complete, trusted", 1, 1, 5, 4, 2, {}, None),
    (
        "complete, trusted, clients lost in every round",
        1,
        1,
        7,
        5,
        2,
        {"AdvertiseKeys": [3], "ShareKeys": [0], "MaskedInput": [2], "Unmask": [5]},
        None,
    ),
    ("complete, malicious", 2, 1, 5, 4, 3, {}, None),
    (
        "complete, malicious, clients lost",
        2,
        1,
        8,
        7,
        5,
        {"MaskedInput": [2], "ConsistencyCheck": [6]},
        None,
    ),
    (
        "complete, malicious, clients lost early",
        2,
        1,
        9,
        7,
        5,
        {"AdvertiseKeys": [0], "ShareKeys": [4], "Unmask": [7]},
        None,
    ),
    ("sparse, trusted", 1, 2, 7, 4, 2, {}, None),
    (
        "sparse, trusted, clients lost",
        1,
        2,
        8,
        6,
        3,
        {"ShareKeys": [1], "MaskedInput": [4], "Unmask": [6]},
        None,
    ),
    (
        "sparse, trusted, one leaves U2 for want of neighbours (V-34)",
        1,
        2,
        12,
        6,
        3,
        {"ShareKeys": [2, 8, 10, 11]},
        None,
    ),
    ("sparse, malicious", 2, 2, 7, 4, 3, {}, None),
    (
        "sparse, malicious, clients lost",
        2,
        2,
        8,
        6,
        4,
        {"MaskedInput": [3], "ConsistencyCheck": [5]},
        None,
    ),
    ("sparse kind of degree n - 1, malicious", 2, 2, 5, 4, 3, {"MaskedInput": [0]}, None),
    ("a box that does not open (V-16)", 1, 1, 5, 4, 2, {}, bad_box),
    ("boxes that were moved do not open (V-26)", 1, 2, 7, 4, 2, {}, moved_boxes),
    ("a wrong share is corrected (V-38)", 1, 1, 6, 5, 2, {}, one_liar),
    ("too many wrong shares (V-37, V-38)", 1, 1, 6, 5, 2, {}, many_liars),
]


def whole_rounds():
    out = []
    for name, model, kind, count, k, t, lost, tamper in ROUNDS:
        session = rounds.make_session(model, kind, 4, 12, SEGMENTS)
        clients = rounds.make_clients(session, 1, count)
        ids = list(clients)
        secrets = {
            m.client_id(p.identity_key(bytes([i]) * 32)): bytes([i]) * 32
            for i in range(1, count + 1)
        }
        outcome, inputs, log = rounds.run_round(session, clients, k, t, lost, tamper)
        if isinstance(outcome, rounds.Aborted):
            dealer, holders = outcome.blamed
            ends = {
                "wrong_shares_of": ids.index(dealer),
                "holders": [ids.index(holder) for holder in holders],
            }
        else:
            total, survivors, gone, wrong = outcome
            assert total == rounds.sum_of(session, [inputs[client] for client in survivors])
            ends = {
                "sum": total,
                "survivors": [ids.index(client) for client in survivors],
                "lost": [[ids.index(client), round_name] for client, round_name in gone.items()],
                "wrong_shares": [[ids.index(client) for client in pair] for pair in wrong],
            }
        out.append(
            {
                "name": name,
                "session": session_of(session, rounds.parameters(model, kind, 4, 12, SEGMENTS)),
                "degree": k,
                "threshold": t,
                "clients": [
                    {
                        "identity": secrets[client],
                        "coins": secrets[client],
                        "id": client,
                        "input": inputs[client],
                    }
                    for client in ids
                ],
                "events": [[what, rank, message] for what, rank, message in log],
                "ends": ends,
            }
        )
    return out


def session_of(session, parameters):
    return {
        "parameters": parameters,
        "round": 7,
        "nonce": bytes([1]) * 32,
        "model_digest": bytes([2]) * 32,
        "plan_digest": bytes([3]) * 32,
        "id": session.id,
    }


POLICY = {
    "threat_model": 1,
    "sparse": True,
    "corrupt": 1,
    "sigma": 40,
    "smallest_cohort": 3,
    "smallest_sum": 3,
    "max_bits": 64,
    "max_bytes": 1 << 20,
}


def rounds_file():
    return {
        "comment": "Whole rounds, event by event. A client's coins are the ChaCha20 keystream under `coins`, in the order "
        "of section 10. up: an honest client sends this; forged: somebody else's bytes; down: the server sends this; "
        "drop: a client is gone; close: the server closes its round. Clients stand in the order of their ids.",
        "authority": rounds.AUTHORITY_SECRET,
        "federation": rounds.FEDERATION,
        "now": rounds.NOW,
        "expiry": rounds.EXPIRY,
        "policy": POLICY,
        "rounds": whole_rounds(),
    }


# --- What must be refused ------------------------------------------------------------------------------


class Base:
    """A round of the file, and how to find its messages."""

    def __init__(self, data, name):
        self.round = next(each for each in data["rounds"] if each["name"] == name)
        session = self.round["session"]
        names = ("parameters", "round", "nonce", "model_digest", "plan_digest")
        self.session, self.ids = m.Session(*(session[each] for each in names)), [
            c["id"] for c in self.round["clients"]
        ]
        self.name = name

    def find(self, what, kind, nth=0):
        """The nth event of this sort: its index, the client's rank, the message."""
        found = [
            (i, e[1], e[2])
            for i, e in enumerate(self.round["events"])
            if e[0] == what and e[2][1] == kind
        ]
        return found[nth]


def negatives(data):
    out = []

    def case(comment, check, error, **rest):
        out.append({"comment": comment, "expect": {"check": check, "error": error}, **rest})

    def bad(base, what, kind, message, comment, check, error, nth=0, **rest):
        """`message` instead of an honest one: bytes, or a function of the honest bytes."""
        at, rank, honest = base.find(what, kind, nth)
        message = message(honest) if callable(message) else message
        case(
            comment,
            check,
            error,
            round=base.name,
            before=at,
            to="server" if what == "up" else "client",
            client=rank,
            message=message,
            **rest,
        )

    trusted, malicious = Base(data, "complete, trusted"), Base(data, "complete, malicious")
    sparse, lossy = Base(data, "sparse, malicious"), Base(
        data, "complete, trusted, clients lost in every round"
    )

    # Parameters.
    good = trusted.round["session"]["parameters"]

    def changed(at, *values):
        return good[:at] + bytes(values) + good[at + len(values) :]

    def with_segments(*segments, n_max=12):
        return rounds.parameters(1, 1, 4, n_max, list(segments))

    for comment, check, error, parameters in [
        ("another suite", "V-02", "OutOfRange", changed(0, 2)),
        ("no such threat model", "V-25", "OutOfRange", changed(1, 3)),
        ("no such graph kind", "V-25", "OutOfRange", changed(2, 0)),
        ("19 bits of security", "V-25", "Parameters", changed(3, 19)),
        ("61 bits of correctness", "V-25", "Parameters", changed(4, 61)),
        ("cohorts from 2", "V-45", "Parameters", changed(5, 2)),
        ("the smallest cohort above the largest", "V-45", "Parameters", changed(5, 13)),
        ("65,537 clients in a complete graph", "V-45", "Parameters", changed(9, 1, 0, 1, 0)),
        ("no segments", "V-25", "OutOfRange", good[:13] + bytes(4)),
        ("257 segments", "V-25", "OutOfRange", changed(13, 1, 1)),
        ("a byte too many", "V-25", "Trailing", good + b"\0"),
        ("a byte too few", "V-25", "Truncated", good[:-1]),
        ("a name of no bytes", "V-25", "OutOfRange", with_segments(("", 1, 20))),
        ("a name of 65 bytes", "V-25", "OutOfRange", with_segments(("x" * 65, 1, 20))),
        ("a name that is not UTF-8", "V-25", "NotText", good.replace(b"few", b"f\xff\xff")),
        (
            "two segments of one name",
            "V-25",
            "Parameters",
            with_segments(("a", 1, 20), ("a", 2, 20)),
        ),
        ("a segment of no elements", "V-25", "Parameters", with_segments(("a", 0, 20))),
        ("65 bits", "V-25", "Parameters", with_segments(("a", 1, 65))),
        ("3 bits for 12 clients", "V-45", "Parameters", with_segments(("a", 1, 3))),
    ]:
        case(comment, check, error, to="parameters", message=parameters)

    # The client's start.
    def start(base, comment, check, error, **rest):
        case(comment, check, error, to="start", round=base.name, client=0, **rest)

    start(trusted, "the policy trusts no server", "V-01", "ThreatModel", policy={"threat_model": 2})
    start(
        sparse,
        "the policy wants the complete graph",
        "V-02",
        "SparseGraph",
        policy={"sparse": False},
    )
    start(
        trusted,
        "elements of 40 bits where 39 are allowed",
        "V-43",
        "AboveCeiling",
        policy={"max_bits": 39},
    )
    start(
        trusted,
        "a vector of more bytes than allowed",
        "V-43",
        "AboveCeiling",
        policy={"max_bytes": 813},
    )

    # The roster.
    def roster(base, comment, check, error, change=None, **rest):
        def encode(honest):
            k, t, listed, adverts = m.decode_roster(base.session, honest)
            given = {"k": k, "t": t, "listed": listed, "adverts": adverts}
            given.update(change(given))
            return m.encode_roster(base.session, **given)

        bad(
            base,
            "down",
            m.ROSTER,
            encode if change else lambda honest: honest,
            comment,
            check,
            error,
            **rest,
        )

    roster(
        trusted,
        "five clients where the policy wants six",
        "V-03",
        "BelowFloor",
        policy={"smallest_cohort": 6},
    )
    bad(
        trusted,
        "down",
        m.ROSTER,
        lambda b: b[:26] + p.le(13, 4) + b[30:],
        "thirteen clients",
        "V-04",
        "OutOfRange",
    )
    bad(
        trusted,
        "down",
        m.ROSTER,
        lambda b: b[:26] + p.le(3, 4) + b[30:],
        "three clients",
        "V-04",
        "OutOfRange",
    )
    roster(trusted, "t = 2 with two corrupt clients", "V-05", "BelowFloor", policy={"corrupt": 2})
    roster(
        malicious,
        "t = 3 of 5 with two corrupt clients",
        "V-05",
        "BelowFloor",
        policy={"corrupt": 2},
    )
    roster(
        sparse, "t = 3 of 4 with two corrupt clients", "V-05", "BelowFloor", policy={"corrupt": 3}
    )
    roster(
        trusted, "degree 3 of 5 clients in the complete graph", "V-06", "Degree", lambda r: {"k": 3}
    )
    roster(
        sparse,
        "an odd degree in the sparse graph",
        "V-06",
        "Degree",
        lambda r: {"k": 3, "adverts": r["adverts"][:3]},
    )
    roster(trusted, "t above k", "V-06", "AboveCeiling", lambda r: {"t": 5})

    def swapped(r):
        a = r["adverts"]
        return {"adverts": a[:2] + [a[3], a[2]] + a[4:]}

    roster(trusted, "two adverts in the wrong order", "V-07", "NotAscending", swapped)
    roster(
        trusted,
        "an advert twice",
        "V-07",
        "NotAscending",
        lambda r: {"adverts": r["adverts"][:4] + r["adverts"][3:4]},
    )
    roster(
        sparse,
        "two entries in the wrong order",
        "V-07",
        "NotAscending",
        lambda r: {"listed": r["listed"][1::-1] + r["listed"][2:]},
    )
    roster(
        trusted,
        "without its receiver",
        "V-08",
        "NotInRoster",
        lambda r: {"k": 3, "listed": r["listed"][1:], "adverts": r["adverts"][1:]},
    )

    def body(advert, at, part):
        return m.Advert(advert.body[:at] + part + advert.body[at + len(part) :])

    def replaced(place, advert_of):
        def change(r):
            adverts = list(r["adverts"])
            adverts[place] = advert_of(adverts)
            return {"adverts": adverts}

        return change

    roster(
        trusted,
        "another mask key for its receiver",
        "V-08",
        "AdvertChanged",
        replaced(0, lambda a: body(a[0], 16, a[1].mask_key)),
    )
    roster(
        sparse,
        "another digest for its receiver",
        "V-08",
        "AdvertChanged",
        lambda r: {"listed": [(r["listed"][0][0], bytes(32))] + r["listed"][1:]},
    )
    own_adverts = {
        a.id: a
        for a in (
            m.decode_advert(sparse.session, e[2])
            for e in sparse.round["events"]
            if e[0] == "up" and e[2][1] == m.ADVERT
        )
    }

    def others(r):
        """Everybody but a neighbour, and somebody who is none."""
        ids = {a.id for a in r["adverts"]}
        stranger = next(a for i, a in own_adverts.items() if i not in ids and i != sparse.ids[0])
        return {"adverts": sorted(r["adverts"][1:] + [stranger], key=lambda a: a.id)}

    roster(sparse, "a client beside one that is no neighbour", "V-14", "NeighbourMissing", others)
    roster(
        sparse,
        "a neighbour's advert is not that of the list",
        "V-14",
        "NeighbourMissing",
        replaced(1, lambda a: body(a[1], 80, bytes(32))),
    )

    def forged(
        number,
        authority=rounds.AUTHORITY_SECRET,
        federation=rounds.FEDERATION,
        expiry=rounds.EXPIRY,
    ):
        """The advert of a client whose credential is another, signed for the session by itself."""
        secret = malicious.round["clients"][number]["identity"]
        credential = m.make_credential(authority, p.identity_key(secret), federation, expiry)

        def advert(adverts):
            unsigned = adverts[number].body[:112]
            return m.Advert(
                unsigned
                + credential
                + p.sign(secret, "advert-signature", malicious.session.id, unsigned)
            )

        return advert

    def unbelieved(adverts):
        return [
            (
                "the credential of another client",
                "V-09",
                lambda a: m.Advert(a[2].body[:112] + a[3].body[112:]),
            ),
            ("a credential of another federation", "V-10", forged(2, federation=bytes(32))),
            ("a credential that has expired", "V-10", forged(2, expiry=rounds.NOW)),
            ("a credential of another authority", "V-10", forged(2, authority=bytes(32))),
            ("a commitment that was not signed", "V-11", lambda a: body(a[2], 80, bytes(32))),
        ]

    for comment, check, advert_of in unbelieved(None):
        roster(malicious, comment + ", of a neighbour", check, "Neighbour", replaced(2, advert_of))
    for comment, key in [
        ("the identity as a mask key", bytes(32)),
        ("a mask key that is not canonical", bytes.fromhex(INVALID[3])),
    ]:
        roster(
            trusted,
            comment,
            "V-12",
            "InvalidPoint",
            replaced(2, lambda a, key=key: body(a[2], 16, key)),
        )
    bad(
        trusted,
        "down",
        m.ROSTER,
        lambda b: b"\2" + b[1:],
        "another version",
        "V-24",
        "UnsupportedVersion",
    )
    bad(
        trusted,
        "down",
        m.ROSTER,
        trusted.find("down", m.DELIVERY)[2],
        "a delivery where the roster is due",
        "V-24",
        "WrongKind",
    )
    bad(trusted, "down", m.ROSTER, lambda b: flip(b, 2), "another session", "V-24", "OtherSession")
    bad(trusted, "down", m.ROSTER, lambda b: b + b"\0", "a byte too many", "V-25", "Trailing")
    bad(trusted, "down", m.ROSTER, lambda b: b[:-1], "a byte too few", "V-25", "Truncated")
    bad(
        trusted,
        "down",
        m.ROSTER,
        lambda b: b[:18] + p.le(1, 4) + b[22:],
        "degree 1",
        "V-25",
        "OutOfRange",
    )

    # The delivery.
    def delivery(base, comment, check, error, change, **rest):
        def encode(honest):
            count, items = m.decode_by_position(base.session, m.DELIVERY, honest)
            return m.encode_by_position(base.session, m.DELIVERY, *change(count, items))

        bad(base, "down", m.DELIVERY, encode, comment, check, error, **rest)

    def first(items, count):
        return {i: items[i] for i in sorted(items)[:count]}

    delivery(
        trusted, "one neighbour where t = 2", "V-15", "BelowFloor", lambda c, i: (c, first(i, 1))
    )
    delivery(
        trusted, "over three neighbours of four", "V-25", "WrongSize", lambda c, i: (3, first(i, 3))
    )
    bad(
        trusted,
        "down",
        m.DELIVERY,
        lambda b: b[:22] + b"\x1f" + b[23:],
        "a padding bit",
        "V-25",
        "NonCanonical",
    )
    bad(trusted, "down", m.DELIVERY, lambda b: b[:-80], "a box is missing", "V-25", "Truncated")

    # The input.
    at, rank, _ = trusted.find("up", m.MASKED_INPUT)
    wide = [list(segment) for segment in trusted.round["clients"][rank]["input"]]
    wide[0][0] = (2**20 - 1) // 12 + 1
    case(
        "an element above the largest input",
        "V-45",
        "OutOfRange",
        round=trusted.name,
        before=at,
        to="input",
        client=rank,
        input=wide,
    )

    # The survivors.
    def survivors(base, comment, check, error, change, **rest):
        def encode(honest):
            n, ranks = m.decode_survivors(base.session, honest)
            return m.encode_survivors(base.session, *change(n, ranks))

        bad(base, "down", m.SURVIVORS, encode, comment, check, error, **rest)

    survivors(trusted, "without its receiver", "V-18", "NotASurvivor", lambda n, r: (n, r[1:]))
    survivors(
        trusted,
        "five where the policy wants six",
        "V-19",
        "BelowFloor",
        lambda n, r: (n, r),
        policy={"smallest_sum": 6},
    )
    survivors(
        malicious, "two neighbours where t = 3", "V-20", "BelowFloor", lambda n, r: (n, r[:3])
    )
    survivors(
        lossy,
        "one whose box was withheld",
        "V-21",
        "SurvivorDidNotShare",
        lambda n, r: (n, range(n)),
    )
    survivors(
        sparse,
        "two neighbours where t = 3, in the sparse graph",
        "V-20",
        "BelowFloor",
        lambda n, r: (
            n,
            [0]
            + [x for x in r if x and sparse.ids[x] not in around_first(sparse)]
            + [x for x in r if sparse.ids[x] in around_first(sparse)][:2],
        ),
    )
    survivors(trusted, "over six clients of five", "V-25", "WrongSize", lambda n, r: (6, r))
    bad(
        trusted,
        "down",
        m.SURVIVORS,
        lambda b: b[:22] + b"\x3f",
        "a padding bit",
        "V-25",
        "NonCanonical",
    )

    # The signatures.
    def signatures(base, comment, check, error, change, **rest):
        def encode(honest):
            count, items = m.decode_by_position(base.session, m.SIGNATURES, honest)
            return m.encode_by_position(base.session, m.SIGNATURES, *change(count, items))

        bad(base, "down", m.SIGNATURES, encode, comment, check, error, **rest)

    for base in (malicious, sparse):
        signatures(
            base, "two signatures where t = 3", "V-22", "BelowFloor", lambda c, i: (c, first(i, 2))
        )
        signatures(
            base,
            "one of three is invalid",
            "V-22",
            "BelowFloor",
            lambda c, i: (c, {**i, 0: flip(i[0], 40)}),
        )
        signatures(
            base,
            "one neighbour's signature twice",
            "V-22",
            "BelowFloor",
            lambda c, i: (c, {**i, 0: i[1]}),
        )
    own = malicious.find("up", m.CONSISTENCY_CHECK)[2][18:]
    signatures(
        malicious,
        "its own in the place of a neighbour's",
        "V-22",
        "BelowFloor",
        lambda c, i: (c, {**i, 0: own}),
    )

    # Asked again.
    for base, kind, change in [
        (trusted, m.SURVIVORS, flip_last),
        (malicious, m.SIGNATURES, lambda b: b),
    ]:
        at, rank, honest = base.find("up", m.UNMASK_SHARES)
        _, _, question = next(
            e for e in base.round["events"][::-1] if e[0] == "down" and e[1] == rank
        )
        case(
            "a second question, after the answer",
            "V-23",
            "NoState",
            round=base.name,
            before=at + 1,
            to="client",
            client=rank,
            message=change(question),
        )

    # The server: adverts.
    def upward(base, kind, comment, check, error, message, **rest):
        bad(base, "up", kind, message, comment, check, error, **rest)

    upward(
        trusted,
        m.ADVERT,
        "the advert of another client",
        "V-30",
        "ForeignAdvert",
        trusted.find("up", m.ADVERT, 1)[2],
    )
    adverts = [
        m.decode_advert(malicious.session, e[2])
        for e in malicious.round["events"]
        if e[0] == "up" and e[2][1] == m.ADVERT
    ]
    for comment, _, advert_of in unbelieved(None):
        upward(
            malicious,
            m.ADVERT,
            comment,
            "V-31",
            "Advert",
            malicious.session.encode(m.ADVERT, advert_of(adverts).body),
            nth=2,
        )
    upward(
        trusted,
        m.ADVERT,
        "the identity as a channel key",
        "V-12",
        "InvalidPoint",
        lambda b: b[:66] + bytes(32) + b[98:],
    )
    at, rank, honest = trusted.find("up", m.ADVERT)
    again = {"round": trusted.name, "to": "server"}
    case(
        "a second advert", "V-32", "Duplicate", **again, before=at + 1, client=rank, message=honest
    )
    at, rank, honest = trusted.find("up", m.SHARE_KEYS)
    case(
        "second share keys",
        "V-32",
        "Duplicate",
        **again,
        before=at + 1,
        client=rank,
        message=honest,
    )
    at, rank, honest = trusted.find("up", m.MASKED_INPUT)
    case(
        "a second vector", "V-32", "Duplicate", **again, before=at + 1, client=rank, message=honest
    )
    at, rank, honest = lossy.find("up", m.SHARE_KEYS)
    case(
        "share keys of a client that is not in the roster",
        "V-32",
        "NotExpected",
        round=lossy.name,
        to="server",
        before=at,
        client=3,
        message=honest,
    )
    at, rank, honest = lossy.find("up", m.MASKED_INPUT)
    case(
        "a vector of a client that shared no keys",
        "V-32",
        "NotExpected",
        round=lossy.name,
        to="server",
        before=at,
        client=0,
        message=honest,
    )

    # The server: later messages.
    def boxes(count):
        return lambda b: b[:18] + p.le(count, 4) + (b[22:] + b[-80:])[: 80 * count]

    for count in (3, 5):
        upward(
            trusted,
            m.SHARE_KEYS,
            f"{count} boxes where 4 are due",
            "V-33",
            "WrongCount",
            boxes(count),
        )
    upward(
        trusted,
        m.SHARE_KEYS,
        "twelve boxes where eleven are the most",
        "V-25",
        "OutOfRange",
        boxes(12),
    )
    upward(
        trusted,
        m.MASKED_INPUT,
        "a padding bit",
        "V-25",
        "NonCanonical",
        lambda b: b[:-1] + bytes([b[-1] | 0x80]),
    )
    upward(trusted, m.MASKED_INPUT, "a byte too few", "V-25", "Truncated", lambda b: b[:-1])
    upward(
        malicious,
        m.CONSISTENCY_CHECK,
        "a changed signature",
        "V-35",
        "WrongSignature",
        lambda b: flip(b, 30),
    )
    upward(
        malicious,
        m.CONSISTENCY_CHECK,
        "another client's signature",
        "V-35",
        "WrongSignature",
        malicious.find("up", m.CONSISTENCY_CHECK, 1)[2],
    )
    secret, small = malicious.round["clients"][0]["identity"], m.bitmap(range(4), 5)
    other_set = p.sign(secret, "survivors-signature", round_id_of(malicious), small)
    upward(
        malicious,
        m.CONSISTENCY_CHECK,
        "a signature on another set",
        "V-35",
        "WrongSignature",
        malicious.session.encode(m.CONSISTENCY_CHECK, other_set),
    )
    other_round = p.sign(secret, "survivors-signature", bytes(32), m.bitmap(range(5), 5))
    upward(
        malicious,
        m.CONSISTENCY_CHECK,
        "a signature on the set in another round",
        "V-35",
        "WrongSignature",
        malicious.session.encode(m.CONSISTENCY_CHECK, other_round),
    )

    def entries(base, change):
        def encode(honest):
            return m.encode_unmask_shares(
                base.session, change(m.decode_unmask_shares(base.session, honest))
            )

        return encode

    upward(
        trusted,
        m.UNMASK_SHARES,
        "three shares where four are due",
        "V-33",
        "WrongCount",
        entries(trusted, lambda e: e[:-1]),
    )
    for base in (trusted, sparse):
        upward(
            base,
            m.UNMASK_SHARES,
            "a share of a survivor's mask seed",
            "V-36",
            "WrongShare",
            entries(base, lambda e: [(m.MASK_SEED, e[0][1])] + e[1:]),
        )
    upward(
        lossy,
        m.UNMASK_SHARES,
        "a share of a lost client's self-mask seed",
        "V-36",
        "WrongShare",
        entries(lossy, lambda e: [(m.SELF_MASK if kind else kind, share) for kind, share in e]),
    )
    upward(
        trusted,
        m.UNMASK_SHARES,
        "no such kind of share",
        "V-25",
        "OutOfRange",
        lambda b: b[:22] + b"\3" + b[23:],
    )
    at = lossy.find("up", m.UNMASK_SHARES)[0]
    case(
        "the vector of a client that was lost",
        "V-39",
        "WrongKind",
        round=lossy.name,
        to="server",
        before=at,
        client=2,
        message=lossy.find("up", m.MASKED_INPUT)[2],
    )
    at = malicious.find("up", m.CONSISTENCY_CHECK)[0]
    case(
        "a vector after the survivors are fixed",
        "V-39",
        "WrongKind",
        round=malicious.name,
        to="server",
        before=at,
        client=1,
        message=malicious.find("up", m.MASKED_INPUT, 1)[2],
    )
    return {
        "comment": "What must be refused. The events of `round` (rounds.json) before the index `before` bring client or server "
        "there; `message` comes instead of the honest one, for the server from `client`. `policy` overrides that of "
        "rounds.json. `check` is the V-nn; `error` is the name of this crate's error.",
        "cases": out,
    }


def around_first(base):
    k, t, listed, adverts = m.decode_roster(base.session, base.find("down", m.ROSTER)[2])
    return {advert.id for advert in adverts}


def round_id_of(base):
    k, t, listed, _ = m.decode_roster(base.session, base.find("down", m.ROSTER)[2])
    digest = p.H("roster", b"".join(i + d for i, d in listed))
    return p.H("round-id", base.session.id, digest, p.le(len(listed), 4), p.le(k, 4), p.le(t, 4))


def lines(value, depth):
    """JSON with a line for each entry down to `depth`."""
    if depth == 0 or not isinstance(value, (dict, list)) or not value:
        return json.dumps(value, separators=(", ", ": "))
    if isinstance(value, dict):
        inner = [json.dumps(key) + ": " + lines(each, depth - 1) for key, each in value.items()]
        return "{\n" + ",\n".join(inner) + "\n}"
    return "[\n" + ",\n".join(lines(each, depth - 1) for each in value) + "\n]"


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    data = rounds_file()
    for name, content, depth in [
        ("primitives", primitives(), 3),
        ("rounds", data, 4),
        ("negative", negatives(data), 2),
    ]:
        (folder / f"{name}.json").write_text(lines(hexed(content), depth) + "\n")


if __name__ == "__main__":
    default = pathlib.Path(__file__).parent.parent / "vectors"
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else default))
