"""Who is whose neighbour, and which thresholds a client accepts: secagg.md, section 7."""

from math import comb

from primitives import H, keystream, number

HONEST, MALICIOUS = 1, 2
COMPLETE, SPARSE = 1, 2


def circle(roster_digest, n):
    """The rank that stands at each place of the circle."""
    key = H("graph", roster_digest)
    stream, taken = b"", 0

    def word():
        nonlocal stream, taken
        if taken == len(stream):
            stream = keystream(key, bytes(12), 2 * len(stream) + 64)
        taken += 4
        return number(stream[taken - 4 : taken])

    at = list(range(n))
    for i in range(n - 1, 0, -1):
        mask = (1 << i.bit_length()) - 1
        c = word() & mask
        while c > i:
            c = word() & mask
        at[c], at[i] = at[i], at[c]
    return at


def neighbours(kind, roster_digest, n, k):
    """For each rank the ranks of its neighbours, ascending."""
    if kind == COMPLETE or k == n - 1:
        return [[v for v in range(n) if v != u] for u in range(n)]
    at = circle(roster_digest, n)
    result = [None] * n
    for place, rank in enumerate(at):
        steps = range(1, k // 2 + 1)
        result[rank] = sorted({at[(place + d) % n] for d in steps} | {at[place - d] for d in steps})
    return result


def is_degree(kind, n, k):
    """V-06."""
    if k > 65535:
        return False
    return k == n - 1 or (kind == SPARSE and k % 2 == 0 and 2 <= k <= n - 2)


def corrupt_neighbours(n, k, bound, bits):
    """t_A: the smallest number with Pr[HG(n, A, k) >= t_A] <= 2^-(bits + 1) / n, exactly."""
    bound = min(bound, n)
    whole, tail = comb(n, k), 0
    for j in range(min(bound, k), -1, -1):
        tail += comb(bound, j) * comb(n - bound, k - j)
        if tail * n * 2 ** (bits + 1) > whole:
            return j + 1
    return 0


def min_threshold(model, n, k, bound, bits):
    """V-05: the smallest t that a client with this bound on the corrupt accepts."""
    bits = min(bits, 80 if model == MALICIOUS else 40)
    t_a = bound + 1 if k == n - 1 else corrupt_neighbours(n, k, bound, bits)
    return -(-(k + t_a) // 2) if model == MALICIOUS else max(t_a, 2)
