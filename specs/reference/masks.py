"""Keys, masks and packing: secagg.md, sections 8 and 9."""

from primitives import KDF, keystream, le, number, shared_point

GROUP = 512


def self_mask_key(round_id, seed, client_id):
    return KDF("self-mask", round_id, seed, 32, client_id)


def pairwise_mask_key(round_id, scalar, u, v, keys):
    """The key of the clients u and v; `keys` maps ids to mask keys, `scalar` is u's."""
    low, high = sorted((u, v))
    point = shared_point(scalar, keys[v])
    return KDF("pairwise-mask", round_id, point, 32, low, high, keys[low], keys[high])


def box_key(round_id, point, sender, receiver, keys):
    return KDF("box-key", round_id, point, 32, sender, receiver, keys[sender], keys[receiver])


def columns_of(group, bits):
    """Element 16·r + l is bits r·b to r·b + b − 1 of column l."""
    columns = []
    for l in range(16):
        rows = [number(group[64 * i + 4 * l : 64 * i + 4 * l + 4]) for i in range(bits)]
        columns.append(sum(row << 32 * i for i, row in enumerate(rows)))
    return [columns[e % 16] >> (e // 16) * bits & (1 << bits) - 1 for e in range(GROUP)]


def rows_of(elements, bits):
    """The inverse of `columns_of`."""
    columns = [sum(elements[16 * r + l] << r * bits for r in range(32)) for l in range(16)]
    words = [le(columns[l] >> 32 * i & 0xFFFFFFFF, 4) for i in range(bits) for l in range(16)]
    return b"".join(words)


def expand(key, segment, bits, count):
    """The mask of one segment."""
    nonce = le(segment, 4) + bytes(8)
    if bits <= 24:
        groups = -(-count // GROUP)
        stream = keystream(key, nonce, groups * 64 * bits)
        out = []
        for g in range(groups):
            out += columns_of(stream[64 * bits * g : 64 * bits * (g + 1)], bits)
        return out[:count]
    size = 4 if bits <= 32 else 8
    stream = keystream(key, nonce, size * count)
    return [number(stream[size * e : size * (e + 1)]) & (1 << bits) - 1 for e in range(count)]


def apply(vector, segments, key, sign):
    """Adds the mask of `key` to the vector, or takes it off."""
    result = []
    for i, (_, count, bits) in enumerate(segments):
        mask = expand(key, i, bits, count)
        result.append([(x + sign * m) % (1 << bits) for x, m in zip(vector[i], mask)])
    return result


def packed_size(count, bits):
    return -(-count * bits // 8)


def pack(elements, bits):
    whole = len(elements) // GROUP * GROUP if bits <= 24 else 0
    vertical = [rows_of(elements[g : g + GROUP], bits) for g in range(0, whole, GROUP)]
    rest = elements[whole:]
    horizontal = sum(element << j * bits for j, element in enumerate(rest))
    return b"".join(vertical) + le(horizontal, packed_size(len(rest), bits))


def unpack(data, count, bits):
    """The elements, or None if a padding bit is set."""
    out, whole = [], count // GROUP if bits <= 24 else 0
    for g in range(whole):
        out += columns_of(data[64 * bits * g : 64 * bits * (g + 1)], bits)
    rest, horizontal = count - GROUP * whole, number(data[64 * bits * whole :])
    if horizontal >> rest * bits:
        return None
    return out + [horizontal >> j * bits & (1 << bits) - 1 for j in range(rest)]
