"""Session, credentials, adverts and the nine messages: secagg.md, 4 to 7, and messages.md."""

from graph import COMPLETE, HONEST, MALICIOUS, SPARSE
from masks import pack, packed_size, unpack
from primitives import H, Refused, check_public_key, demand, le, number, sign, verify

ADVERT, ROSTER, SHARE_KEYS, DELIVERY, MASKED_INPUT = 1, 2, 3, 4, 5
SURVIVORS, UNMASK_SHARES, CONSISTENCY_CHECK, SIGNATURES = 6, 7, 8, 9
NO_SHARE, SELF_MASK, MASK_SEED = 0, 1, 2


class Reader:
    """V-25: whatever is missing, left over or out of range is refused."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        demand(len(self.data) - self.at >= size, "V-25", "truncated")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size, low, high, check="V-25"):
        value = number(self.take(size))
        demand(low <= value <= high, check, "number out of range")
        return value

    def bitmap(self, count):
        bits = number(self.take(-(-count // 8)))
        demand(bits >> count == 0, "V-25", "padding")
        return [i for i in range(count) if bits >> i & 1]

    def end(self):
        demand(self.at == len(self.data), "V-25", "trailing bytes")


def bitmap(members, count):
    return le(sum(1 << i for i in members), -(-count // 8))


def ascending(ids):
    return all(a < b for a, b in zip(ids, ids[1:]))


# --- Session ---------------------------------------------------------------------------------------


class Session:
    def __init__(self, parameters, round_number, nonce, model_digest, plan_digest):
        r = Reader(parameters)
        demand(r.take(1) == b"\x01", "V-02", "suite")
        self.model = r.number(1, HONEST, MALICIOUS)
        self.kind = r.number(1, COMPLETE, SPARSE)
        self.sigma, self.eta = r.number(1, 20, 120), r.number(1, 10, 60)
        self.n_min, self.n_max = r.number(4, 0, 2**32), r.number(4, 0, 2**32)
        limit = 65536 if self.kind == COMPLETE else 1000000
        demand(3 <= self.n_min <= self.n_max <= limit, "V-45", "cohort")
        self.segments = []
        for _ in range(r.number(4, 1, 256)):
            try:
                name = r.take(r.number(4, 1, 64)).decode("utf-8")
            except UnicodeDecodeError:
                raise Refused("V-25", "name of a segment") from None
            demand(name not in [s[0] for s in self.segments], "V-25", "name given twice")
            count, bits = r.number(4, 1, 2**32 - 1), r.number(1, 1, 64)
            demand((1 << bits) - 1 >= self.n_max, "V-45", "no room for the sum")
            self.segments.append((name, count, bits))
        r.end()
        context = (le(round_number, 8), nonce, model_digest, plan_digest)
        self.id = H("session-id", parameters, *context)
        self.malicious = self.model == MALICIOUS
        self.advert_size = 312 if self.malicious else 112
        self.vector_size = sum(packed_size(count, bits) for _, count, bits in self.segments)

    def check_input(self, vector):
        """V-45: refused, never reduced."""
        fits = len(vector) == len(self.segments)
        for elements, (_, count, bits) in zip(vector, self.segments):
            largest = ((1 << bits) - 1) // self.n_max
            fits = fits and len(elements) == count and all(0 <= e <= largest for e in elements)
        demand(fits, "V-45", "input")

    def cap(self, kind):
        """The most bytes that a message of this kind has."""
        m, a = self.n_max, self.advert_size
        return {
            ADVERT: 18 + a,
            ROSTER: 30 + m * (48 + a),
            SHARE_KEYS: 22 + 80 * (m - 1),
            DELIVERY: 22 + -(-(m - 1) // 8) + 80 * (m - 1),
            MASKED_INPUT: 18 + self.vector_size,
            SURVIVORS: 22 + -(-m // 8),
            UNMASK_SHARES: 22 + 33 * (m - 1),
            CONSISTENCY_CHECK: 82,
            SIGNATURES: 22 + -(-(m - 1) // 8) + 64 * (m - 1),
        }[kind]

    def encode(self, kind, *body):
        return bytes([1, kind]) + self.id[:16] + b"".join(body)

    def open(self, kind, message):
        """The body of a message of the kind that is due."""
        demand(len(message) <= self.cap(kind), "V-25", "above the cap")
        r = Reader(message)
        demand(r.take(1) == b"\x01", "V-24", "version")
        demand(r.take(1) == bytes([kind]), "V-24", "kind")
        demand(r.take(16) == self.id[:16], "V-24", "session")
        return r


# --- Credentials and adverts -------------------------------------------------------------------------


def client_id(identity):
    return H("client-id", identity)[:16]


def make_credential(authority_secret, identity, federation, expiry):
    parts = (identity, federation, le(expiry, 8))
    return b"".join(parts) + sign(authority_secret, "credential", *parts)


def check_credential(credential, authority, federation, now):
    """V-10."""
    identity, place, expiry = credential[:32], credential[32:64], credential[64:72]
    demand(place == federation, "V-10", "federation")
    demand(now < number(expiry), "V-10", "expired")
    valid = verify(authority, credential[72:], "credential", identity, place, expiry)
    demand(valid, "V-10", "authority's signature")


class Advert:
    def __init__(self, body):
        self.body, self.id = body, body[:16]
        self.mask_key, self.channel_key, self.commitment = body[16:48], body[48:80], body[80:112]
        self.credential, self.signature = body[112:248], body[248:]
        self.digest = H("advert", body)

    @staticmethod
    def read(session, reader):
        advert = Advert(reader.take(session.advert_size))
        check_public_key(advert.mask_key)
        check_public_key(advert.channel_key)
        return advert

    def check_believed(self, session, trust, now):
        """V-09 to V-11; `trust` is the authority's key and the federation."""
        identity = self.credential[:32]
        demand(self.id == client_id(identity), "V-09", "id")
        check_credential(self.credential, *trust, now)
        parts = (session.id, self.body[:112])
        valid = verify(identity, self.signature, "advert-signature", *parts)
        demand(valid, "V-11", "advert's signature")


# --- Messages: an encoder and a decoder each ---------------------------------------------------------


def decode_advert(session, message):
    r = session.open(ADVERT, message)
    advert = Advert.read(session, r)
    r.end()
    return advert


def roster_list(adverts):
    return [(advert.id, advert.digest) for advert in adverts]


def encode_roster(session, k, t, listed, adverts):
    """`listed` is the whole roster; `adverts` are all of it, or those of the neighbours."""
    body = [le(k, 4), le(t, 4), le(len(listed), 4)]
    if session.kind == SPARSE:
        body += [identity + digest for identity, digest in listed]
    return session.encode(ROSTER, *body, *(advert.body for advert in adverts))


def decode_roster(session, message):
    """k, t, the roster list, and the adverts that came with it."""
    r = session.open(ROSTER, message)
    k, t = r.number(4, 2, session.n_max - 1), r.number(4, 2, session.n_max)
    n = r.number(4, session.n_min, session.n_max, "V-04")
    listed, count = None, n
    if session.kind == SPARSE:
        listed, count = [(r.take(16), r.take(32)) for _ in range(n)], k
        demand(ascending([identity for identity, _ in listed]), "V-07", "roster's order")
    adverts = [Advert.read(session, r) for _ in range(count)]
    demand(ascending([advert.id for advert in adverts]), "V-07", "adverts' order")
    r.end()
    return k, t, listed or roster_list(adverts), adverts


def encode_share_keys(session, boxes):
    return session.encode(SHARE_KEYS, le(len(boxes), 4), *boxes)


def decode_share_keys(session, message):
    r = session.open(SHARE_KEYS, message)
    boxes = [r.take(80) for _ in range(r.number(4, 0, session.n_max - 1))]
    r.end()
    return boxes


def encode_by_position(session, kind, count, items):
    """Delivery or Signatures: `items` maps positions among `count` neighbours to bytes."""
    parts = (le(count, 4), bitmap(items, count), *(items[i] for i in sorted(items)))
    return session.encode(kind, *parts)


def decode_by_position(session, kind, message):
    r = session.open(kind, message)
    count = r.number(4, 0, session.n_max - 1)
    size = 80 if kind == DELIVERY else 64
    items = {position: r.take(size) for position in r.bitmap(count)}
    r.end()
    return count, items


def encode_masked_input(session, vector):
    packed = [pack(elements, bits) for elements, (_, _, bits) in zip(vector, session.segments)]
    return session.encode(MASKED_INPUT, *packed)


def decode_masked_input(session, message):
    r, vector = session.open(MASKED_INPUT, message), []
    for _, count, bits in session.segments:
        vector.append(unpack(r.take(packed_size(count, bits)), count, bits))
        demand(vector[-1] is not None, "V-25", "padding")
    r.end()
    return vector


def encode_survivors(session, n, ranks):
    return session.encode(SURVIVORS, le(n, 4), bitmap(ranks, n))


def decode_survivors(session, message):
    r = session.open(SURVIVORS, message)
    n = r.number(4, session.n_min, session.n_max)
    ranks = r.bitmap(n)
    r.end()
    return n, ranks


def encode_unmask_shares(session, entries):
    """Entries are (kind, share), the share empty for "no share"."""
    body = [bytes([kind]) + share for kind, share in entries]
    return session.encode(UNMASK_SHARES, le(len(entries), 4), *body)


def decode_unmask_shares(session, message):
    r, entries = session.open(UNMASK_SHARES, message), []
    for _ in range(r.number(4, 0, session.n_max - 1)):
        kind = r.number(1, NO_SHARE, MASK_SEED)
        entries.append((kind, r.take(32 if kind else 0)))
    r.end()
    return entries


def decode_consistency_check(session, message):
    r = session.open(CONSISTENCY_CHECK, message)
    signature = r.take(64)
    r.end()
    return signature
