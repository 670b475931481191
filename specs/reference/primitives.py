"""Framing, hash, key derivation, group, ciphers and signatures: secagg.md, sections 2 and 3.

Written to be read beside the text, not to be used: nothing here runs in constant time, and no
secret is wiped.
"""

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Refused(Exception):
    """A check of section 11 failed. `check` is its number, `reason` a word for people."""

    def __init__(self, check, reason):
        super().__init__(f"{check}: {reason}")
        self.check, self.reason = check, reason


def demand(condition, check, reason):
    if not condition:
        raise Refused(check, reason)


def le(number, size):
    return number.to_bytes(size, "little")


def number(data):
    return int.from_bytes(data, "little")


# --- Section 2 ---------------------------------------------------------------------------------


def frame(label, *parts):
    """F(label, parts): every part with its length before it."""
    parts = (b"secagg/v1/" + label.encode("ascii"), *parts)
    return b"".join(le(len(part), 8) + part for part in parts)


def H(label, *parts):
    return hashlib.sha256(frame(label, *parts)).digest()


def KDF(label, salt, secret, length, *parts):
    info = frame(label, *parts)
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


# --- The curve under both the group and the signatures -------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    """Sum of two points in extended coordinates (X : Y : Z : T) of -x^2 + y^2 = 1 + d x^2 y^2."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def double(p):
    a, b = p[0] * p[0], p[1] * p[1]
    e, g = 2 * p[0] * p[1] % P, (b - a) % P
    f, h = (g - 2 * p[2] * p[2]) % P, (-a - b) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    """Four bits of the scalar at a time, the highest first."""
    multiples = [NEUTRAL, point]
    while len(multiples) < 16:
        multiples.append(add(multiples[-1], point))
    result = NEUTRAL
    for shift in range(252, -1, -4):
        result = double(double(double(double(result))))
        if scalar >> shift & 15:
            result = add(result, multiples[scalar >> shift & 15])
    return result


def sqrt_ratio(u, v):
    """RFC 9496, 4.2: whether u/v is a square, and the root of it or of sqrt(-1) u/v."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * SQRT_M1 % P):
        r = r * SQRT_M1 % P
    return check in (u % P, -u % P), absolute(r)


def negative(x):
    return x % P % 2 == 1


def absolute(x):
    return -x % P if negative(x) else x % P


# --- ristretto255 ----------------------------------------------------------------------------------

INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]


@lru_cache(None)  # many clients of one process ask for the same
def decode(data):
    """A group element from its one encoding, or None. The identity is an element here."""
    s = number(data)
    if len(data) != 32 or s >= P or negative(s):
        return None
    u1, u2 = (1 - s * s) % P, (1 + s * s) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    square, root = sqrt_ratio(1, v * u2 * u2 % P)
    den_x, den_y = root * u2 % P, root * root * u2 * v % P
    x, y = absolute(2 * s * den_x), u1 * den_y % P
    if not square or negative(x * y) or y == 0:
        return None
    return x, y, 1, x * y % P


def encode(point):
    x, y, z, t = point
    u1, u2 = (z + y) * (z - y) % P, x * y % P
    _, root = sqrt_ratio(1, u1 * u2 * u2 % P)
    den1, den2 = root * u1 % P, root * u2 % P
    z_inv = den1 * den2 * t % P
    if negative(t * z_inv):
        x, y, den_inv = y * SQRT_M1 % P, x * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        den_inv = den2
    if negative(x * z_inv):
        y = -y
    return le(absolute(den_inv * (z - y)), 32)


BASE_Y = 4 * pow(5, -1, P) % P
BASE_X = absolute(sqrt_ratio(BASE_Y * BASE_Y - 1, D * BASE_Y * BASE_Y + 1)[1])
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def public_key(scalar):
    return encode(multiply(scalar, BASE))


def check_public_key(data):
    """V-12: one encoding a key, and no key with a known result."""
    demand(any(data) and decode(data) is not None, "V-12", "public key")


@lru_cache(None)
def shared_point(scalar, public):
    return encode(multiply(scalar, decode(public)))


def derive_scalar(label, session_id, secret, client_id):
    return number(KDF(label, session_id, secret, 64, client_id)) % ORDER


# --- Stream cipher and seal ------------------------------------------------------------------------


def keystream(key, nonce, length):
    """The block function's output for the counters 0, 1, 2, ..."""
    cipher = Cipher(algorithms.ChaCha20(key, le(0, 4) + nonce), mode=None)
    return cipher.encryptor().update(bytes(length))


def seal(key, associated, plaintext):
    return ChaCha20Poly1305(key).encrypt(bytes(12), plaintext, associated)


def open_box(key, associated, box):
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), box, associated)
    except InvalidTag:
        return None


# --- Ed25519 -----------------------------------------------------------------------------------------


def identity_key(secret):
    """The public key of a secret of 32 bytes (RFC 8032)."""
    public = Ed25519PrivateKey.from_private_bytes(secret).public_key()
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def sign(secret, label, *parts):
    return Ed25519PrivateKey.from_private_bytes(secret).sign(H(label, *parts))


def decode_edwards(data):
    """RFC 8032, 5.1.3, or None."""
    y, sign_bit = number(data) & (2**255 - 1), data[31] >> 7
    if y >= P:
        return None
    square, x = sqrt_ratio(y * y - 1, D * y * y + 1)
    if not square or (x == 0 and sign_bit):
        return None
    x = -x % P if sign_bit else x
    return x, y, 1, x * y % P


def encode_edwards(point):
    z_inv = pow(point[2], -1, P)
    x, y = point[0] * z_inv % P, point[1] * z_inv % P
    return le(y | (x & 1) << 255, 32)


def small_order(point):
    x, y, z, _ = multiply(8, point)
    return x == 0 and y == z


@lru_cache(None)
def verify_raw(public, signature, message):
    """The four points of section 3, in their order."""
    a, r, s = decode_edwards(public), decode_edwards(signature[:32]), number(signature[32:])
    if a is None or r is None or s >= ORDER or small_order(a) or small_order(r):
        return False
    h = number(hashlib.sha512(signature[:32] + public + message).digest()) % ORDER
    minus_a = (-a[0] % P, a[1], a[2], -a[3] % P)
    point = add(multiply(s, BASE), multiply(h, minus_a))
    return encode_edwards(point) == signature[:32]


def verify(public, signature, label, *parts):
    return verify_raw(public, signature, H(label, *parts))


# --- Coins: section 10 -------------------------------------------------------------------------------


class Coins:
    """The stream that the tests draw from: the keystream under a seed."""

    def __init__(self, seed):
        self.seed, self.taken = seed, 0

    def take(self, count):
        start, self.taken = self.taken, self.taken + count
        return keystream(self.seed, bytes(12), self.taken)[start:]
