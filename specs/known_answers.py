"""The values of `secagg/src/known_answers.rs`, from the text of `secagg.md` alone.

Python's standard library and nothing else: python3 specs/known_answers.py
"""

import hashlib
import hmac

# ristretto255 (RFC 9496), by its formulas.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def absolute(x):
    return x % P if x % P % 2 == 0 else -x % P


def sqrt_ratio(u, v):
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * SQRT_M1 % P):
        r = r * SQRT_M1 % P
    return absolute(r)


INVSQRT_A_MINUS_D = sqrt_ratio(1, (-1 - D) % P)


def add(p, q):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = p, q
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = (0, 1, 1, 0)
    for bit in bin(scalar)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def compress(point):
    x, y, z, t = point
    u1, u2 = (z + y) * (z - y) % P, x * y % P
    root = sqrt_ratio(1, u1 * u2 * u2 % P)
    d1, d2 = root * u1 % P, root * u2 % P
    z_inv = d1 * d2 * t % P
    if t * z_inv % P & 1:
        x, y, d = y * SQRT_M1 % P, x * SQRT_M1 % P, d1 * INVSQRT_A_MINUS_D % P
    else:
        d = d2
    if x * z_inv % P & 1:
        y = -y % P
    return absolute(d * (z - y)).to_bytes(32, "little")


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = sqrt_ratio(BASE_Y * BASE_Y - 1, D * BASE_Y * BASE_Y + 1)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)
RFC_9496_BASE = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
assert compress(BASE).hex() == RFC_9496_BASE


# ChaCha20-Poly1305 (RFC 8439).
def chacha20_block(key, counter, nonce):
    words = [int.from_bytes(part, "little") for part in
             [(b"expand 32-byte k" + key + counter.to_bytes(4, "little") + nonce)[i:i + 4]
              for i in range(0, 64, 4)]]
    state = list(words)

    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xffffffff
            turned = state[z] ^ state[x]
            state[z] = (turned << turn | turned >> (32 - turn)) & 0xffffffff

    for _ in range(10):
        for column in range(4):
            quarter(*(4 * row + column for row in range(4)))
        for column in range(4):
            quarter(*(4 * row + (column + row) % 4 for row in range(4)))
    return b"".join(((a + b) & 0xffffffff).to_bytes(4, "little") for a, b in zip(state, words))


def pad16(data):
    return data + bytes(-len(data) % 16)


def seal(key, associated, plaintext):
    nonce = bytes(12)
    blocks = range(1, 2 + len(plaintext) // 64)
    stream = b"".join(chacha20_block(key, counter, nonce) for counter in blocks)
    sealed = bytes(a ^ b for a, b in zip(plaintext, stream))
    one_time = chacha20_block(key, 0, nonce)
    r = int.from_bytes(one_time[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    s = int.from_bytes(one_time[16:32], "little")
    data = pad16(associated) + pad16(sealed)
    data += len(associated).to_bytes(8, "little") + len(sealed).to_bytes(8, "little")
    tag = 0
    for i in range(0, len(data), 16):
        tag = (tag + int.from_bytes(data[i:i + 16] + b"\1", "little")) * r % (2**130 - 5)
    return sealed + ((tag + s) % 2**128).to_bytes(16, "little")


# The conventions of the page.
def le(value, size):
    return value.to_bytes(size, "little")


def framed(label, parts):
    return b"".join(le(len(p), 8) + p for p in [b"secagg/v1/" + label.encode(), *parts])


def H(label, *parts):
    return hashlib.sha256(framed(label, parts)).digest()


def KDF(label, salt, secret, size, *parts):
    key = hmac.digest(salt, secret, "sha256")
    out, block = b"", b""
    for i in range(1, 2 + size // 32):
        block = hmac.digest(key, block + framed(label, parts) + bytes([i]), "sha256")
        out += block
    return out[:size]


# Shamir over GF(2^16), modulo x^16 + x^12 + x^3 + x + 1.
def product(a, b):
    result = 0
    for bit in range(16):
        if b >> bit & 1:
            result ^= a << bit
    for bit in range(31, 15, -1):
        if result >> bit & 1:
            result ^= 0x1100b << (bit - 16)
    return result


def share(coefficients, coordinate):
    lanes = [0] * 16
    for coefficient in reversed(coefficients):
        for lane in range(16):
            element = int.from_bytes(coefficient[2 * lane:2 * lane + 2], "little")
            lanes[lane] = product(lanes[lane], coordinate) ^ element
    return b"".join(le(lane, 2) for lane in lanes)


# Three clients whose seeds are repeated bytes.
parameters = bytes([1, 1, 1, 40, 20]) + le(3, 4) + le(4, 4) + le(1, 4)
parameters += le(5, 4) + b"words" + le(7, 4) + bytes([20])
session = H("session-id", parameters, le(7, 8), bytes([1] * 32), bytes([2] * 32), bytes([3] * 32))


class Client:
    def __init__(self, number):
        self.id = H("client-id", bytes([number] * 32))[:16]
        mask_seed, self.self_seed, channel_seed = (bytes([x + number] * 32)
                                                   for x in (0x10, 0x20, 0x30))

        def scalar(label, seed):
            wide = KDF(label, session, seed, 64, self.id)
            return int.from_bytes(wide, "little") % ORDER

        self.mask = scalar("mask-scalar", mask_seed)
        self.channel = scalar("channel-scalar", channel_seed)
        self.mask_point, self.channel_point = times(self.mask, BASE), times(self.channel, BASE)
        self.mask_key, self.channel_key = compress(self.mask_point), compress(self.channel_point)
        self.commitment = H("self-mask-commitment", session, self.id, self.self_seed)
        self.advert = self.id + self.mask_key + self.channel_key + self.commitment


clients = sorted((Client(number) for number in (1, 2, 3)), key=lambda client: client.id)
roster = H("roster", b"".join(c.id + H("advert", c.advert) for c in clients))
round_id = H("round-id", session, roster, le(3, 4), le(2, 4), le(2, 4))
low, high = clients[0], clients[2]
shared_mask = compress(times(low.mask, high.mask_point))
shared_channel = compress(times(high.channel, low.channel_point))
box_key = KDF("box-key", round_id, shared_channel, 32, high.id, low.id,
              high.channel_key, low.channel_key)

for name, value in {
    "session id": session,
    "advert of the lowest": low.advert,
    "round id": round_id,
    "pairwise mask": KDF("pairwise-mask", round_id, shared_mask, 32, low.id, high.id,
                         low.mask_key, high.mask_key),
    "self mask": KDF("self-mask", round_id, low.self_seed, 32, low.id),
    "box from highest to lowest": seal(box_key, round_id + high.id + low.id, bytes(range(64))),
    "share 1": share([bytes(range(32)), bytes(range(32, 64))], 1),
    "share 0x1234": share([bytes(range(32)), bytes(range(32, 64))], 0x1234),
}.items():
    print(f"{name}: {value.hex()}")
