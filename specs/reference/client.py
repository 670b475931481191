"""A client: secagg.md, 6 to 9, and "The client's states" of messages.md."""

import messages as m
from graph import SPARSE, is_degree, min_threshold, neighbours
from masks import apply, box_key, pairwise_mask_key, self_mask_key
from primitives import H, Refused, demand, derive_scalar, le, open_box, public_key, seal
from primitives import shared_point, sign, verify
from shamir import split


class Policy:
    """What a client accepts, fixed before it hears of a session."""

    def __init__(self, weakest_model, sigma, corrupt, smallest_cohort, smallest_sum, **others):
        self.weakest_model, self.sigma, self.corrupt = weakest_model, sigma, corrupt
        self.smallest_cohort, self.smallest_sum = smallest_cohort, smallest_sum
        self.sparse = others.get("sparse", True)
        self.max_bytes, self.max_bits = others.get("max_bytes", 1 << 30), others.get("max_bits", 64)


class Identity:
    """The secret of an Ed25519 key, and what an authority said of it."""

    def __init__(self, secret, public, credential=None, trust=None):
        self.secret, self.public, self.credential, self.trust = secret, public, credential, trust
        self.id = m.client_id(public)


class Client:
    """`receive` and `mask` return the message to send, or None. After a refusal it has left."""

    def __init__(self, session, policy, identity, coins, now):
        self.session, self.policy, self.identity, self.coins = session, policy, identity, coins
        self.now, self.id, self.state = now, identity.id, self.start

    def step(self, *event):
        current, self.state = self.state, self.left
        try:
            return current(*event)
        except Refused:
            self.__dict__ = {"state": self.left}
            raise

    def receive(self, message):
        if self.state == self.input:
            self.state = self.left  # no message is due
        return self.step(message)

    def mask(self, vector):
        assert self.state == self.input
        return self.step(vector)

    def left(self, *_):
        raise Refused("V-32", "this client has left the round")

    def answered(self, *_):
        raise Refused("V-23", "this client has answered, once")

    def start(self):
        session, policy = self.session, self.policy
        demand(session.model >= policy.weakest_model, "V-01", "threat model")
        demand(policy.sparse or session.kind != SPARSE, "V-02", "graph kind")
        wide = any(bits > policy.max_bits for _, _, bits in session.segments)
        demand(not wide and session.vector_size <= policy.max_bytes, "V-43", "vector")
        self.mask_seed, self.self_seed, channel_seed = (self.coins.take(32) for _ in range(3))
        self.mask_scalar = derive_scalar("mask-scalar", session.id, self.mask_seed, self.id)
        self.channel_scalar = derive_scalar("channel-scalar", session.id, channel_seed, self.id)
        commitment = H("self-mask-commitment", session.id, self.id, self.self_seed)
        keys = public_key(self.mask_scalar) + public_key(self.channel_scalar)
        body = self.id + keys + commitment
        if session.malicious:
            credential = self.identity.credential
            demand(credential[:32] == self.identity.public, "V-09", "own credential")
            m.check_credential(credential, *self.identity.trust, self.now)
            body += credential + sign(self.identity.secret, "advert-signature", session.id, body)
        self.own = m.Advert(body)
        self.state = self.roster
        return session.encode(m.ADVERT, body)

    def roster(self, message):
        session, policy = self.session, self.policy
        k, t, listed, adverts = m.decode_roster(session, message)
        n, digests, self.t = len(listed), dict(listed), t
        demand(n >= policy.smallest_cohort, "V-03", "cohort")
        demand(session.n_min <= n <= session.n_max, "V-04", "cohort")
        demand(is_degree(session.kind, n, k) and t <= k, "V-06", "degree")
        least = min_threshold(session.model, n, k, policy.corrupt, policy.sigma)
        demand(t >= least, "V-05", "threshold")
        demand(digests.get(self.id) == self.own.digest, "V-08", "own advert")
        self.ids = [identity for identity, _ in listed]
        roster_digest = H("roster", b"".join(i + d for i, d in listed))
        self.rank = self.ids.index(self.id)
        ranks = neighbours(session.kind, roster_digest, n, k)
        self.neighbours = [self.ids[rank] for rank in ranks[self.rank]]
        by_id = {advert.id: advert for advert in adverts}
        if session.kind == SPARSE:
            demand(list(by_id) == self.neighbours, "V-14", "neighbours")
        for other in self.neighbours:
            demand(by_id[other].digest == digests[other], "V-14", "neighbour's advert")
            if session.malicious:
                by_id[other].check_believed(session, self.identity.trust, self.now)
        self.others = {other: by_id[other] for other in self.neighbours}
        numbers = (le(n, 4), le(k, 4), le(t, 4))
        self.round_id = H("round-id", session.id, roster_digest, *numbers)
        of_mask_seed = split(self.mask_seed, k, t, self.coins.take(32 * (t - 1)))
        of_self_seed = split(self.self_seed, k, t, self.coins.take(32 * (t - 1)))
        boxes = []
        for position, other in enumerate(self.neighbours):
            key = self.box_key(self.id, other)
            shares = of_mask_seed[position] + of_self_seed[position]
            boxes.append(seal(key, self.round_id + self.id + other, shares))
        self.state = self.delivery
        return m.encode_share_keys(session, boxes)

    def box_key(self, sender, receiver):
        other = receiver if sender == self.id else sender
        keys = {self.id: self.own.channel_key, other: self.others[other].channel_key}
        point = shared_point(self.channel_scalar, keys[other])
        return box_key(self.round_id, point, sender, receiver, keys)

    def delivery(self, message):
        count, boxes = m.decode_by_position(self.session, m.DELIVERY, message)
        demand(count == len(self.neighbours), "V-25", "set of another size")
        demand(len(boxes) >= self.t, "V-15", "too few neighbours")
        self.shares = {}
        for position, box in boxes.items():
            sender = self.neighbours[position]
            key = self.box_key(sender, self.id)
            # V-16: None stays, and is "no share" later.
            self.shares[sender] = open_box(key, self.round_id + sender + self.id, box)
        del self.channel_scalar
        self.state = self.input

    def input(self, vector):
        session = self.session
        try:
            session.check_input(vector)
        except Refused:
            self.state = self.input
            raise
        own = self_mask_key(self.round_id, self.self_seed, self.id)
        vector = apply(vector, session.segments, own, 1)
        for other in self.shares:
            keys = {self.id: self.own.mask_key, other: self.others[other].mask_key}
            key = pairwise_mask_key(self.round_id, self.mask_scalar, self.id, other, keys)
            vector = apply(vector, session.segments, key, 1 if self.id < other else -1)
        del self.self_seed, self.mask_scalar
        self.state = self.survivors
        return m.encode_masked_input(session, vector)

    def survivors(self, message):
        n, ranks = m.decode_survivors(self.session, message)
        demand(n == len(self.ids), "V-25", "survivors of another roster")
        self.alive = {self.ids[rank] for rank in ranks}
        near = self.alive.intersection(self.neighbours)
        demand(self.id in self.alive, "V-18", "not among the survivors")
        demand(len(ranks) >= self.policy.smallest_sum, "V-19", "too few survivors")
        demand(near <= set(self.shares), "V-21", "survivor whose box was withheld")
        demand(len(near) >= self.t, "V-20", "too few neighbours survive")
        if not self.session.malicious:
            return self.reveal()
        self.signed = (self.round_id, m.bitmap(ranks, n))
        self.state = self.signatures
        signature = sign(self.identity.secret, "survivors-signature", *self.signed)
        return self.session.encode(m.CONSISTENCY_CHECK, signature)

    def signatures(self, message):
        count, signatures = m.decode_by_position(self.session, m.SIGNATURES, message)
        demand(count == len(self.neighbours), "V-25", "set of another size")
        valid = 0
        for position, signature in signatures.items():
            other = self.neighbours[position]
            key = self.others[other].credential[:32]
            if other in self.alive:
                valid += verify(key, signature, "survivors-signature", *self.signed)
        demand(valid >= self.t, "V-22", "too few signatures")
        return self.reveal()

    def reveal(self):
        """V-23: one kind of share a neighbour, and no state is left to ask again."""
        entries = []
        for other in self.neighbours:
            if other not in self.shares:
                continue
            shares = self.shares[other]
            if shares is None:
                entries.append((m.NO_SHARE, b""))
            elif other in self.alive:
                entries.append((m.SELF_MASK, shares[32:]))
            else:
                entries.append((m.MASK_SEED, shares[:32]))
        session, self.__dict__ = self.session, {"state": self.answered}
        return m.encode_unmask_shares(session, entries)
