"""GF(2^16), splitting, reconstruction and correction: secagg.md, sections 3, 8 and 9."""

from primitives import le, number

MODULUS, LANES = 0x1100B, 16

# x (the number 2) generates the group, so products are sums of logarithms.
EXP, LOG = [0] * 131070, [0] * 65536
_power = 1
for _i in range(65535):
    EXP[_i] = EXP[_i + 65535] = _power
    LOG[_power] = _i
    _power <<= 1
    if _power >> 16:
        _power ^= MODULUS
assert _power == 1 and len(set(EXP)) == 65535


def mul(a, b):
    return EXP[LOG[a] + LOG[b]] if a and b else 0


def div(a, b):
    assert b
    return EXP[LOG[a] - LOG[b] + 65535] if a else 0


def lanes(data):
    return [number(data[2 * lane : 2 * lane + 2]) for lane in range(LANES)]


def unlanes(elements):
    return b"".join(le(element, 2) for element in elements)


def evaluate(polynomial, x):
    """`polynomial` has its highest coefficient first."""
    value = 0
    for coefficient in polynomial:
        value = mul(value, x) ^ coefficient
    return value


def split(seed, count, threshold, coins):
    """Shares for the coordinates 1 to `count`; `coins` has 32·(threshold − 1) bytes."""
    rows = [lanes(coins[32 * j : 32 * j + 32]) for j in range(threshold - 1)] + [lanes(seed)]
    polynomials = list(zip(*rows))
    return [unlanes(evaluate(p, x) for p in polynomials) for x in range(1, count + 1)]


def combine(shares):
    """The seed from exactly t shares {coordinate: share}."""
    seed = [0] * LANES
    for x_i, share in shares.items():
        weight = 1
        for x_j in shares:
            if x_j != x_i:
                weight = mul(weight, div(x_j, x_j ^ x_i))
        seed = [s ^ mul(weight, y) for s, y in zip(seed, lanes(share))]
    return unlanes(seed)


def solve(rows, width):
    """Some solution of linear equations [coefficients..., right side], or None."""
    pivots, done = [], 0
    for column in range(width):
        pivot = next((r for r in range(done, len(rows)) if rows[r][column]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        rows[done] = [div(value, rows[done][column]) for value in rows[done]]
        for r in range(len(rows)):
            if r != done and rows[r][column]:
                factor = rows[r][column]
                rows[r] = [a ^ mul(factor, b) for a, b in zip(rows[r], rows[done])]
        pivots.append(column)
        done += 1
    if any(row[width] for row in rows[done:]):
        return None
    solution = [0] * width
    for row, column in zip(rows, pivots):
        solution[column] = row[width]
    return solution


def divide(numerator, denominator):
    """Quotient of polynomials, highest coefficient first, or None if it does not come out even."""
    rest, quotient = list(numerator), []
    for i in range(len(numerator) - len(denominator) + 1):
        factor = div(rest[i], denominator[0])
        quotient.append(factor)
        for j, coefficient in enumerate(denominator):
            rest[i + j] ^= mul(factor, coefficient)
    return None if any(rest) else quotient


def decode_lane(points, threshold, errors):
    """Berlekamp–Welch: the polynomial that all but `errors` of the points (x, y) lie on, or None.

    With E monic of degree `errors` and Q = P·E, Q(x) = y·E(x) at each point.
    """
    width = threshold + 2 * errors
    rows = []
    for x, y in points:
        powers = [1]
        while len(powers) <= threshold + errors:
            powers.append(mul(powers[-1], x))
        q = powers[: threshold + errors]
        e = [mul(y, power) for power in powers[:errors]]
        rows.append(q + e + [mul(y, powers[errors])])
    solution = solve(rows, width)
    if solution is None:
        return None
    q, e = solution[: threshold + errors], solution[threshold + errors :] + [1]
    return divide(q[::-1], e[::-1])


def correct(shares, threshold):
    """(seed, wrong coordinates) if at most ⌊(h − t)/2⌋ of the h shares are wrong, else None."""
    errors = (len(shares) - threshold) // 2
    seed, wrong = [], set()
    for lane in range(LANES):
        points = [(x, lanes(share)[lane]) for x, share in shares.items()]
        polynomial = decode_lane(points, threshold, errors)
        if polynomial is None:
            return None
        seed.append(evaluate(polynomial, 0))
        wrong |= {x for x, y in points if evaluate(polynomial, x) != y}
    return (unlanes(seed), wrong) if len(wrong) <= errors else None
