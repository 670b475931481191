"""Checks this implementation against specs/vectors: python3 specs/reference/check_vectors.py"""

import json
import pathlib
import sys

import graph
import masks
import messages as m
import primitives as p
import shamir
from client import Client, Identity, Policy
from server import Aborted, Server

FOLDER = pathlib.Path(__file__).parent.parent / "vectors"
ENCODED = {
    m.ADVERT: lambda s, b: s.encode(m.ADVERT, m.decode_advert(s, b).body),
    m.ROSTER: lambda s, b: m.encode_roster(s, *m.decode_roster(s, b)),
    m.SHARE_KEYS: lambda s, b: m.encode_share_keys(s, m.decode_share_keys(s, b)),
    m.DELIVERY: lambda s, b: m.encode_by_position(
        s, m.DELIVERY, *m.decode_by_position(s, m.DELIVERY, b)
    ),
    m.MASKED_INPUT: lambda s, b: m.encode_masked_input(s, m.decode_masked_input(s, b)),
    m.SURVIVORS: lambda s, b: m.encode_survivors(s, *m.decode_survivors(s, b)),
    m.UNMASK_SHARES: lambda s, b: m.encode_unmask_shares(s, m.decode_unmask_shares(s, b)),
    m.CONSISTENCY_CHECK: lambda s, b: s.encode(
        m.CONSISTENCY_CHECK, m.decode_consistency_check(s, b)
    ),
    m.SIGNATURES: lambda s, b: m.encode_by_position(
        s, m.SIGNATURES, *m.decode_by_position(s, m.SIGNATURES, b)
    ),
}


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def unhex(text):
    return bytes.fromhex(text)


def refusal(action, *arguments):
    """The check by which something is refused, or None."""
    try:
        action(*arguments)
    except p.Refused as refused:
        return refused.check
    return None


# --- primitives.json -----------------------------------------------------------------------------------


def primitives():
    data = load("primitives")
    for i, encoding in enumerate(data["ristretto255"]["multiples_of_base"]):
        assert p.public_key(i).hex() == encoding
    for encoding in data["ristretto255"]["refused"]:
        assert refusal(p.check_public_key, unhex(encoding)) == "V-12"
    authority, federation = (
        unhex(data["identities"][name]) for name in ("authority", "federation")
    )
    for each in data["identities"]["each"]:
        public = p.identity_key(unhex(each["secret"]))
        assert public.hex() == each["public"] and m.client_id(public).hex() == each["id"]
        assert (
            m.make_credential(authority, public, federation, each["expiry"]).hex()
            == each["credential"]
        )
    label, parts = data["signatures"]["label"], [
        unhex(part) for part in data["signatures"]["parts"]
    ]
    for each in data["signatures"]["each"]:
        valid = p.verify(unhex(each["public"]), unhex(each["signature"]), label, *parts)
        assert valid == each["valid"], each["comment"]
    for each in data["graphs"]:
        around = graph.neighbours(graph.SPARSE, unhex(each["roster_digest"]), each["n"], each["k"])
        assert around == each["neighbours"]
    for each in data["shares"]:
        seed, t, expected = (
            unhex(each["seed"]),
            each["threshold"],
            [unhex(share) for share in each["shares"]],
        )
        coins = p.Coins(unhex(each["coins"])).take(32 * (t - 1))
        assert shamir.split(seed, len(expected), t, coins) == expected
        every = {i + 1: share for i, share in enumerate(expected)}
        for some in (list(every)[:t], list(every)[-t:][::-1]):
            assert shamir.combine({x: every[x] for x in some}) == seed
    for each in data["corrected"]:
        found = shamir.correct(
            {i + 1: unhex(share) for i, share in enumerate(each["shares"])}, each["threshold"]
        )
        expected = each["seed"] and (unhex(each["seed"]), set(each["wrong"]))
        assert found == expected
    for each in data["masks"]:
        mask = masks.expand(unhex(each["key"]), each["segment"], each["bits"], each["count"])
        packed = masks.pack(mask, each["bits"])
        assert mask[:8] == each["first"] and mask[-1] == each["last"]
        assert p.hashlib.sha256(packed).hexdigest() == each["sha256_of_packed"]
        assert masks.unpack(packed, each["count"], each["bits"]) == mask
    for each in data["min_threshold"]:
        assert (
            graph.min_threshold(each["model"], each["n"], each["k"], each["corrupt"], 80)
            == each["threshold"]
        )
    return sum(
        len(value["each"] if "each" in value else value)
        for key, value in data.items()
        if key != "comment"
    )


# --- rounds.json -----------------------------------------------------------------------------------------


class Replay:
    """The parties of one round, each fed with the events up to some index."""

    def __init__(self, data, entry):
        self.data, self.entry, s = data, entry, entry["session"]
        digests = (unhex(s[name]) for name in ("nonce", "model_digest", "plan_digest"))
        self.session = m.Session(unhex(s["parameters"]), s["round"], *digests)
        assert self.session.id.hex() == s["id"]
        self.ids = [unhex(client["id"]) for client in entry["clients"]]
        self.events = [(what, rank, unhex(message)) for what, rank, message in entry["events"]]
        self.authority = unhex(data["authority"])
        self.trust = (p.identity_key(self.authority), unhex(data["federation"]))

    def client(self, rank, **overrides):
        client, policy = self.entry["clients"][rank], {**self.data["policy"], **overrides}
        secret = unhex(client["identity"])
        public = p.identity_key(secret)
        credential = m.make_credential(self.authority, public, self.trust[1], self.data["expiry"])
        names = ("threat_model", "sigma", "corrupt", "smallest_cohort", "smallest_sum")
        limits = {name: policy[name] for name in ("sparse", "max_bits", "max_bytes")}
        policy = Policy(*(policy[name] for name in names), **limits)
        identity = Identity(secret, public, credential, self.trust)
        assert identity.id == self.ids[rank]
        return Client(
            self.session, policy, identity, p.Coins(unhex(client["coins"])), self.data["now"]
        )

    def feed_client(self, rank, before, client):
        """Every message up to there; what it sends must be that of the file."""
        sent, vector = client.step(), self.entry["clients"][rank]["input"]
        for what, whose, message in self.events[:before]:
            if whose != rank:
                continue
            if what == "up":
                assert sent == message, (self.entry["name"], rank, message[1])
            elif what == "down":
                sent = client.receive(message)
                if client.state == client.input:
                    sent = (
                        client.mask(vector) if ("up", rank, m.MASKED_INPUT) in self.kinds else None
                    )
        return sent

    @property
    def kinds(self):
        return {(what, rank, message[1]) for what, rank, message in self.events if message}

    def feed_server(self, before):
        server, down = Server(self.session, self.trust, self.data["now"]), {}
        for what, rank, message in self.events[:before]:
            if what in ("up", "forged"):
                server.receive(self.ids[rank], message)
            elif what == "drop":
                server.drop(self.ids[rank])
            elif what == "down":
                assert down.pop(self.ids[rank]) == message, (self.entry["name"], rank, message[1])
            else:
                assert not down
                down = self.close(server)
        return server, down

    def close(self, server):
        close = {
            "AdvertiseKeys": lambda: server.close_adverts(
                self.entry["degree"], self.entry["threshold"]
            ),
            "ShareKeys": server.close_share_keys,
            "MaskedInput": server.close_masked_input,
            "ConsistencyCheck": server.close_consistency_check,
            "Unmask": lambda: self.outcome(server),
        }
        return close[server.round]()

    def outcome(self, server):
        def rank(client):
            return self.ids.index(client)

        try:
            total, survivors, lost, wrong = server.close_unmask()
        except Aborted as aborted:
            dealer, holders = aborted.blamed
            return {
                "wrong_shares_of": rank(dealer),
                "holders": [rank(holder) for holder in holders],
            }
        return {
            "sum": total,
            "survivors": [rank(client) for client in survivors],
            "lost": [[rank(client), name] for client, name in lost.items()],
            "wrong_shares": [[rank(client) for client in pair] for pair in wrong],
        }


def rounds():
    data, messages = load("rounds"), 0
    for entry in data["rounds"]:
        replay = Replay(data, entry)
        _, ends = replay.feed_server(len(replay.events))
        assert ends == entry["ends"], entry["name"]
        for rank in range(len(replay.ids)):
            replay.feed_client(rank, len(replay.events), replay.client(rank))
        for _, _, message in replay.events:
            if message:
                assert ENCODED[message[1]](replay.session, message) == message
                messages += 1
    return f"{len(data['rounds'])} rounds of {messages} messages"


# --- negative.json -----------------------------------------------------------------------------------------


def negatives():
    data, cases, checks = load("rounds"), load("negative")["cases"], set()
    by_name = {entry["name"]: entry for entry in data["rounds"]}
    for case in cases:
        if case["to"] == "parameters":
            found = refusal(m.Session, unhex(case["message"]), 7, *[bytes(32)] * 3)
        else:
            replay = Replay(data, by_name[case["round"]])
            policy = case.get("policy", {})
            rank, before = case["client"], case.get("before")
            client = replay.client(rank, **policy)
            if case["to"] == "start":
                found = refusal(client.step)
            elif case["to"] == "input":
                # The client's own mistake: refused before anything is masked.
                found = refusal(replay.session.check_input, case["input"])
            elif case["to"] == "client":
                replay.feed_client(rank, before, client)
                found = refusal(client.receive, unhex(case["message"]))
                assert refusal(client.receive, b""), "a client that has left takes nothing"
            else:
                server, _ = replay.feed_server(before)
                found = refusal(server.receive, replay.ids[rank], unhex(case["message"]))
        assert found == case["expect"]["check"], (case["comment"], case["expect"], found)
        checks.add(found)
    return f"{len(cases)} cases of {len(checks)} checks: {' '.join(sorted(checks))}"


if __name__ == "__main__":
    for check in (primitives, rounds, negatives):
        print(f"{check.__name__}: {check()}", flush=True)
    sys.exit(0)
