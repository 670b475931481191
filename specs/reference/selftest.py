"""Checks this implementation against the RFCs, the examples of secagg.md, and itself."""

import sys
import time

import graph
import masks
import messages as m
import primitives as p
import rounds
import shamir

# RFC 9496, A.1: the multiples of the base point from 0.
MULTIPLES = """
0000000000000000000000000000000000000000000000000000000000000000
e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76
6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919
94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259
da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57
e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e
f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403
44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d
903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c
02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031
20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f
bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42
e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460
aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f
46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e
e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e
""".split()

# RFC 9496, A.2: not canonical, negative, no square, negative xy, y = 0.
INVALID = """
00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
0100000000000000000000000000000000000000000000000000000000000000
01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20
c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562
c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78
47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24
f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72
87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309
26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371
4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f
de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b
bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042
2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08
f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22
8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731
2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b
3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e
a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220
d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e
8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32
32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b
227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165
5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e
445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
""".split()


def group():
    for i, encoding in enumerate(MULTIPLES):
        assert p.encode(p.multiply(i, p.BASE)).hex() == encoding
        assert p.encode(p.decode(bytes.fromhex(encoding))).hex() == encoding
    for encoding in INVALID:
        assert p.decode(bytes.fromhex(encoding)) is None, encoding
    a, b = 12345, 2**251 + 9
    assert p.shared_point(a, p.public_key(b)) == p.shared_point(b, p.public_key(a))


def ciphers():
    # RFC 8439, 2.4.2 begins with counter 1; RFC 8439, A.1, vectors 1 and 2 are counters 0 and 1.
    stream = p.keystream(bytes(32), bytes(12), 128).hex()
    assert stream.startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert stream[128:].startswith(
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    )
    # RFC 5869, A.1, by the same HKDF that KDF calls.
    hkdf = p.HKDF(
        algorithm=p.hashes.SHA256(), length=42, salt=bytes(range(13)), info=bytes(range(240, 250))
    )
    assert hkdf.derive(b"\x0b" * 22).hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    key, associated, box = bytes(range(32)), b"ad", p.seal(bytes(range(32)), b"ad", bytes(64))
    assert len(box) == 80 and p.open_box(key, associated, box) == bytes(64)
    for changed in [(bytes(32), b"ad", box), (key, b"da", box), (key, b"ad", b"\0" + box[1:])]:
        assert p.open_box(*changed) is None


def signatures():
    # RFC 8032, 7.1, tests 1 and 2.
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert p.identity_key(secret).hex() == public
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    public = bytes.fromhex(public)
    assert p.verify_raw(public, signature, b"")
    assert not p.verify_raw(public, signature, b"x")
    larger = signature[:32] + p.le(p.number(signature[32:]) + p.ORDER, 32)
    assert not p.verify_raw(public, larger, b""), "S is not reduced"
    neutral = p.le(1, 32)
    assert not p.verify_raw(neutral, neutral + bytes(32), b""), "small order"
    # The neutral element with y = 1 + p, and with a sign of its x = 0.
    for r in [p.le(1 + p.P, 32), p.le(1 | 1 << 255, 32)]:
        assert not p.verify_raw(public, r + signature[32:], b"")


def field():
    assert all(shamir.mul(a, shamir.div(1, a)) == 1 for a in (1, 2, 3, 0x1234, 0xFFFF))
    assert shamir.mul(0x8000, 2) == 0x100B
    seed, coins = bytes(range(32)), p.Coins(bytes([5]) * 32).take(32 * 3)
    shares = shamir.split(seed, 10, 4, coins)
    by_coordinate = {i + 1: share for i, share in enumerate(shares)}
    for some in ([1, 2, 3, 4], [10, 3, 7, 1], [9, 8, 7, 6]):
        assert shamir.combine({x: by_coordinate[x] for x in some}) == seed
    wrong = dict(by_coordinate)
    wrong[2], wrong[9] = bytes(32), wrong[9][:31] + bytes([wrong[9][31] ^ 1])
    wrong[4] = bytes([255]) * 32
    assert shamir.correct(wrong, 4) == (seed, {2, 4, 9})
    wrong[5] = bytes([254]) * 32
    assert shamir.correct(wrong, 4) is None


def session_and_graph():
    words = [("words", 7, 20)]
    data = rounds.parameters(1, 1, 3, 4, words)
    assert data.hex() == "010101281403000000040000000100000005000000776f7264730700000014"
    session = rounds.make_session(1, 1, 3, 4, words)
    assert session.id.hex() == "5f53d8779aef635e0653cd1a15291c6b023b1c72c37cdec3a302313e8f06de2c"
    assert graph.circle(bytes(32), 7) == [2, 5, 3, 0, 1, 6, 4]
    around = graph.neighbours(graph.SPARSE, bytes(32), 7, 4)
    assert around[0] == [1, 3, 5, 6] and around[4] == [1, 2, 5, 6]
    for n, k in [(4, 2), (9, 4), (50, 20), (100, 98)]:
        around = graph.neighbours(graph.SPARSE, p.H("graph", b"any"), n, k)
        assert all(len(a) == k and u not in a for u, a in enumerate(around))
        assert all(u in around[v] for u, a in enumerate(around) for v in a)
    # parameters.md, "Vectors": where t is as small as a client accepts.
    for model, n, corrupt, k, t in [
        (1, 10, 1, 4, 2),
        (2, 10, 1, 4, 3),
        (2, 10, 3, 6, 5),
        (1, 100, 10, 22, 11),
        (2, 100, 10, 32, 22),
        (1, 1000, 100, 48, 27),
        (2, 1000, 100, 120, 87),
        (1, 1000, 200, 98, 54),
        (2, 1000, 50, 336, 194),
    ]:
        assert graph.min_threshold(model, n, k, corrupt, 80) == t, (model, n, corrupt, k)
    assert graph.min_threshold(1, 10, 9, 2, 40) == 3 and graph.min_threshold(2, 10, 9, 2, 80) == 6


def masks_and_packing():
    key = b"0123456789abcdef0123456789ABCDEF"
    vertical = masks.expand(key, 0, 20, 512)
    assert (vertical[0], vertical[1]) == (0x1082B, 0x22959)
    assert (vertical[17], vertical[511]) == (0x698EA, 0x7E7A1)
    assert masks.expand(key, 1, 28, 2) == [0x193B841, 0x560E425]
    assert masks.expand(key, 1, 40, 2) == [0x253193B841, 0x85A76CBFB8]
    assert masks.pack([0x12345, 0xABCDE, 0x54321], 20).hex() == "4523e1cdab214305"
    for bits in (1, 20, 24, 25, 32, 33, 64):
        for count in (1, 511, 512, 513):
            elements = masks.expand(key, 3, bits, count)
            assert elements == masks.expand(key, 3, bits, 1024)[:count]
            packed = masks.pack(elements, bits)
            assert len(packed) == masks.packed_size(count, bits)
            assert masks.unpack(packed, count, bits) == elements
            if bits * count % 8:
                assert masks.unpack(packed[:-1] + bytes([packed[-1] | 128]), count, bits) is None


SEGMENTS = [("few", 3, 20), ("many", 515, 12), ("wide", 5, 40), ("mid", 5, 28)]
LOSSES = [
    {},
    {"ShareKeys": [0], "MaskedInput": [2], "Unmask": [5]},
    {"AdvertiseKeys": [1], "MaskedInput": [3, 6]},
]


def whole_rounds():
    shapes = [
        (1, 1, 8, lambda n: n - 1, 4, 2),
        (2, 1, 9, lambda n: n - 1, 5, 1),
        (1, 2, 12, lambda n: 6, 3, 0),
        (2, 2, 12, lambda n: 8, 5, 0),
        (2, 2, 9, lambda n: n - 1, 5, 1),
    ]
    for model, kind, count, degree, t, corrupt in shapes:
        for lost in LOSSES + ([{"ConsistencyCheck": [4], "Unmask": [5]}] if model == 2 else []):
            session = rounds.make_session(model, kind, 4, 12, SEGMENTS)
            clients = rounds.make_clients(session, corrupt, count)
            ids, n = list(clients), count - len(lost.get("AdvertiseKeys", []))
            outcome, inputs, _ = rounds.run_round(session, clients, degree(n), t, lost)
            total, survivors, lost_ids, wrong = outcome
            early = [
                r
                for name in ("AdvertiseKeys", "ShareKeys", "MaskedInput")
                for r in lost.get(name, [])
            ]
            assert survivors == [client for rank, client in enumerate(ids) if rank not in early]
            assert total == rounds.sum_of(session, [inputs[client] for client in survivors])
            assert len(lost_ids) == sum(map(len, lost.values())) and not wrong


def refusals_of_bytes():
    """Each truncation, an extra byte, another version, kind and session, of each message."""
    session = rounds.make_session(2, 2, 4, 12, [("a", 3, 5)])
    clients = rounds.make_clients(session, 0, 8)
    _, _, log = rounds.run_round(session, clients, 4, 3, {"MaskedInput": [2]})
    decoders = {
        m.ADVERT: m.decode_advert,
        m.ROSTER: m.decode_roster,
        m.SHARE_KEYS: m.decode_share_keys,
        m.DELIVERY: lambda s, b: m.decode_by_position(s, m.DELIVERY, b),
        m.MASKED_INPUT: m.decode_masked_input,
        m.SURVIVORS: m.decode_survivors,
        m.UNMASK_SHARES: m.decode_unmask_shares,
        m.CONSISTENCY_CHECK: m.decode_consistency_check,
        m.SIGNATURES: lambda s, b: m.decode_by_position(s, m.SIGNATURES, b),
    }
    examples = {message[1]: message for _, _, message in log if message}
    assert set(examples) == set(decoders)
    for kind, message in examples.items():
        decoders[kind](session, message)
        short = [message[:i] for i in range(0, len(message), max(1, len(message) // 60))]
        flipped = [message[:i] + bytes([message[i] ^ 1]) + message[i + 1 :] for i in (0, 1, 2, 17)]
        for bad in short + [message[:-1], message + b"\0"] + flipped:
            try:
                decoders[kind](session, bad)
            except p.Refused as refused:
                assert refused.check == ("V-24" if bad in flipped else "V-25"), refused
            else:
                raise AssertionError(f"kind {kind} accepts {bad.hex()}")


def wrong_shares():
    """A liar among enough holders is corrected and named; too many end the round, undecided."""
    for liars, corrected in ([3], True), ([1, 2, 3], False):
        session = rounds.make_session(1, 1, 4, 12, [("a", 3, 8)])
        clients = rounds.make_clients(session, 0, 8)
        ids = list(clients)

        def lie(name, rank, message):
            if name == "Unmask" and rank in liars:
                entries = m.decode_unmask_shares(session, message)
                entries[0] = (entries[0][0], bytes([rank]) * 32)
                return m.encode_unmask_shares(session, entries)
            return message

        outcome, inputs, _ = rounds.run_round(session, clients, 7, 4, {}, lie)
        if corrected:
            assert outcome[3] == [(ids[0], ids[3])]
            assert outcome[0] == rounds.sum_of(session, inputs.values())
        else:
            assert outcome.blamed == (ids[0], ids[1:5])


def main():
    checks = [
        group,
        ciphers,
        signatures,
        field,
        session_and_graph,
        masks_and_packing,
        refusals_of_bytes,
        whole_rounds,
        wrong_shares,
    ]
    for check in checks:
        start = time.monotonic()
        check()
        print(f"{check.__name__}: ok, {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
