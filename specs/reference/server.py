"""The server: secagg.md, 7 to 9, and "The server's states" of messages.md."""

import messages as m
from graph import SPARSE, is_degree, neighbours
from masks import apply, pairwise_mask_key, self_mask_key
from primitives import H, Refused, demand, derive_scalar, le, public_key, verify
from shamir import combine, correct

ROUNDS = ["AdvertiseKeys", "ShareKeys", "MaskedInput", "ConsistencyCheck", "Unmask"]


class Aborted(Exception):
    """The round ends; `blamed` is (dealer, holders) where a seed could not be opened (V-38)."""

    def __init__(self, reason, blamed=None):
        super().__init__(reason)
        self.blamed = blamed


class Server:
    """`receive(sender, message)` keeps a message or raises; `close` returns {id: message}."""

    def __init__(self, session, trust=None, now=0):
        self.session, self.trust, self.now = session, trust, now
        self.round, self.adverts, self.got, self.gone = "AdvertiseKeys", {}, {}, {}

    def receive(self, sender, message):
        name = {
            "AdvertiseKeys": self.advert,
            "ShareKeys": self.share_keys,
            "MaskedInput": self.masked_input,
            "ConsistencyCheck": self.consistency_check,
            "Unmask": self.unmask_shares,
        }[self.round]
        if self.round != "AdvertiseKeys" and message[:2] == bytes([1, m.MASKED_INPUT]):
            demand(self.round in ("ShareKeys", "MaskedInput"), "V-39", "late vector")
        name(sender, message)

    def awaited(self, sender):
        demand(sender in self.expected, "V-32", "takes no part")
        demand(sender not in self.gone, "V-32", "was dropped")
        demand(sender not in self.got, "V-32", "second message")

    def drop(self, client):
        """A vector and an answer that were got stay; anything else is forgotten."""
        stays = self.round in ("MaskedInput", "Unmask") and client in self.got
        member = self.round == "AdvertiseKeys" or client in self.expected
        if member and not stays:
            self.got.pop(client, None)
            self.gone.setdefault(client, self.round)

    def demand_enough(self, least, reason):
        if least > len(self.got):
            raise Aborted(reason)

    def move(self, name, expected):
        for client in self.expected:
            if client not in self.got:
                self.gone.setdefault(client, self.round)
        self.round, self.expected, self.got = name, expected, {}

    # --- AdvertiseKeys

    def advert(self, sender, message):
        advert = m.decode_advert(self.session, message)
        demand(advert.id == sender, "V-30", "advert of another client")
        demand(sender not in self.gone, "V-32", "was dropped")
        demand(sender not in self.got, "V-32", "second advert")
        demand(len(self.got) < self.session.n_max, "V-32", "the cohort is full")
        if self.session.malicious:
            try:
                advert.check_believed(self.session, self.trust, self.now)
            except Refused as refused:
                raise Refused("V-31", f"{refused.check} {refused.reason}") from None
        self.got[sender] = advert

    def close_adverts(self, k, t):
        session, n = self.session, len(self.got)
        self.demand_enough(session.n_min, "too few adverts")
        demand(is_degree(session.kind, n, k) and 2 <= t <= k, "V-06", "degree")
        self.k, self.t, self.ids = k, t, sorted(self.got)
        self.adverts = [self.got[client] for client in self.ids]
        listed = m.roster_list(self.adverts)
        roster_digest = H("roster", b"".join(i + d for i, d in listed))
        numbers = (le(n, 4), le(k, 4), le(t, 4))
        self.round_id = H("round-id", session.id, roster_digest, *numbers)
        ranks = neighbours(session.kind, roster_digest, n, k)
        self.neighbours = {self.ids[u]: [self.ids[v] for v in ranks[u]] for u in range(n)}
        self.by_id = dict(zip(self.ids, self.adverts))
        self.expected = list(self.ids)
        self.move("ShareKeys", self.ids)
        out = {}
        for client in self.ids:
            around = [self.by_id[other] for other in self.neighbours[client]]
            adverts = around if session.kind == SPARSE else self.adverts
            out[client] = m.encode_roster(session, k, t, listed, adverts)
        return out

    # --- ShareKeys

    def share_keys(self, sender, message):
        boxes = m.decode_share_keys(self.session, message)
        self.awaited(sender)
        demand(len(boxes) == self.k, "V-33", "number of boxes")
        self.got[sender] = dict(zip(self.neighbours[sender], boxes))

    def close_share_keys(self):
        boxes, members = dict(self.got), set(self.got)
        while True:
            # V-34: all at once, until nothing changes.
            few = {u for u in members if len(members.intersection(self.neighbours[u])) < self.t}
            if not few:
                break
            members -= few
        self.got = {client: boxes[client] for client in members}
        self.demand_enough(self.t + 1, "too few clients shared their keys")
        self.u2 = [client for client in self.ids if client in members]
        self.move("MaskedInput", self.u2)
        self.sum = [[0] * count for _, count, _ in self.session.segments]
        out = {}
        for client in self.u2:
            around = self.neighbours[client]
            items = {i: boxes[u][client] for i, u in enumerate(around) if u in members}
            out[client] = m.encode_by_position(self.session, m.DELIVERY, self.k, items)
        return out

    # --- MaskedInput

    def masked_input(self, sender, message):
        vector = m.decode_masked_input(self.session, message)
        self.awaited(sender)
        self.got[sender] = True
        for i, (_, _, bits) in enumerate(self.session.segments):
            self.sum[i] = [(a + b) % (1 << bits) for a, b in zip(self.sum[i], vector[i])]

    def close_masked_input(self):
        self.demand_enough(self.t + 1, "too few vectors")
        self.u3 = [client for client in self.u2 if client in self.got]
        ranks = [rank for rank, client in enumerate(self.ids) if client in self.got]
        self.signed = (self.round_id, m.bitmap(ranks, len(self.ids)))
        self.move("ConsistencyCheck" if self.session.malicious else "Unmask", self.u3)
        message = m.encode_survivors(self.session, len(self.ids), ranks)
        return {client: message for client in self.u3}

    # --- ConsistencyCheck

    def consistency_check(self, sender, message):
        signature = m.decode_consistency_check(self.session, message)
        self.awaited(sender)
        key = self.by_id[sender].credential[:32]
        valid = verify(key, signature, "survivors-signature", *self.signed)
        demand(valid, "V-35", "signature on the survivors")
        self.got[sender] = signature

    def close_consistency_check(self):
        signatures, out = dict(self.got), {}
        for client in self.u3:
            around = self.neighbours[client]
            there = [i for i, other in enumerate(around) if other in signatures]
            if client in signatures and len(there) >= self.t:
                items = {i: signatures[around[i]] for i in there[: self.t]}
                out[client] = m.encode_by_position(self.session, m.SIGNATURES, self.k, items)
        self.got = {client: True for client in out}
        self.demand_enough(self.t + 1, "too few signatures")
        self.move("Unmask", list(out))
        return out

    # --- Unmask

    def unmask_shares(self, sender, message):
        entries = m.decode_unmask_shares(self.session, message)
        self.awaited(sender)
        owners = [other for other in self.neighbours[sender] if other in self.u2]
        demand(len(entries) == len(owners), "V-33", "number of shares")
        for owner, (kind, _) in zip(owners, entries):
            right = m.SELF_MASK if owner in self.u3 else m.MASK_SEED
            demand(kind in (m.NO_SHARE, right), "V-36", "kind of share")
        self.got[sender] = {owner: share for owner, (_, share) in zip(owners, entries) if share}

    def committed(self, owner, seed):
        """V-37."""
        advert = self.by_id[owner]
        if owner in self.u3:
            commitment = H("self-mask-commitment", self.session.id, owner, seed)
            return commitment == advert.commitment
        return public_key(self.mask_scalar(owner, seed)) == advert.mask_key

    def mask_scalar(self, owner, seed):
        return derive_scalar("mask-scalar", self.session.id, seed, owner)

    def open_seed(self, owner):
        """The seed, and the holders whose shares were wrong (V-38)."""
        around, shares = self.neighbours[owner], {}
        for position, holder in enumerate(around):
            if owner in self.got.get(holder, {}):
                shares[position + 1] = self.got[holder][owner]
        if len(shares) < self.t:
            raise Aborted("too few shares of a seed")
        first = dict(list(shares.items())[: self.t])
        seed = combine(first)
        if not self.committed(owner, seed):
            found = correct(shares, self.t)
            if found is None or not self.committed(owner, found[0]):
                raise Aborted("a seed cannot be opened", (owner, [around[x - 1] for x in first]))
            return found[0], [around[x - 1] for x in sorted(found[1])]
        return seed, []

    def close_unmask(self):
        """(sum, survivors, {lost: round}, [(dealer, holder)])."""
        self.demand_enough(self.t + 1, "too few answers")
        result, wrong, segments = self.sum, [], self.session.segments
        keys = {client: self.by_id[client].mask_key for client in self.ids}
        for owner in self.u2:
            seed, liars = self.open_seed(owner)
            wrong += [(owner, holder) for holder in liars]
            if owner in self.u3:
                key = self_mask_key(self.round_id, seed, owner)
                result = apply(result, segments, key, -1)
                continue
            scalar = self.mask_scalar(owner, seed)
            for other in self.neighbours[owner]:
                if other in self.u3:
                    key = pairwise_mask_key(self.round_id, scalar, owner, other, keys)
                    result = apply(result, segments, key, -1 if other < owner else 1)
        for client in self.expected:
            if client not in self.got:
                self.gone.setdefault(client, "Unmask")
        return result, self.u3, dict(sorted(self.gone.items())), wrong
