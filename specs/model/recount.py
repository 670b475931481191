#!/usr/bin/env python3
"""Counts, without SPIN, the states of secagg.pml that can be reached, and those that break a property.

    recount.py N T A [WITHOUT_CONSISTENCY] [WITHOUT_U2_CONDITION]

For the complete graph. Written from the rules and not from the model: what one client has done never
depends on another, except that it answers only if there are enough signatures, so the reachable states
are the product of what each client can have done, without those in which somebody answered too soon.
The sums that the server can compute come from linear algebra instead of from components of a graph.
"""

import sys
from fractions import Fraction
from itertools import combinations, product

n, t, corrupt_count = map(int, sys.argv[1:4])
weakened = sys.argv[4:]
clients = range(n)
honest = clients[: n - corrupt_count]
corrupt = set(clients[n - corrupt_count :])
subsets = [frozenset(s) for size in range(n + 1) for s in combinations(clients, size)]


def histories(v):
    """What an honest client can have done: its U2, the U3 it signed, whether it has answered."""
    found = [(None, None, False)]
    for u2 in subsets:
        if v in u2 or len(u2) < t:
            continue
        found.append((u2, None, False))
        for u3 in subsets:
            others = u3 - {v}
            if v not in u3 or len(others) < t:
                continue
            if others <= u2 or "WITHOUT_U2_CONDITION" in weakened:
                found += [(u2, u3, False), (u2, u3, True)]
    return found


def answered_too_soon(state):
    return "WITHOUT_CONSISTENCY" not in weakened and any(
        answered and sum(w in corrupt or state[w][1] == u3 for w in u3 - {v}) < t
        for v, (_, u3, answered) in enumerate(state)
    )


def open_secrets(state):
    """Whose mask seed, and whose self-mask seed, the server can open."""
    mask_open, self_open = set(), set()
    for v in honest:
        answers = [u3 for u2, u3, answered in state if answered and v in u2]
        in_u3 = sum(v in u3 for u3 in answers)
        if len(corrupt) + in_u3 >= t:
            self_open.add(v)
        if len(corrupt) + len(answers) - in_u3 >= t:
            mask_open.add(v)
    return mask_open, self_open


def rank(rows):
    rows, rank = [row[:] for row in rows], 0
    for column in clients:
        pivot = next((row for row in rows[rank:] if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(rank, pivot)
        for row in rows[rank + 1 :]:
            factor = Fraction(row[column], pivot[column])
            row[:] = [x - factor * y for x, y in zip(row, pivot)]
        rank += 1
    return rank


def smallest_sums(state, mask_open, self_open):
    """The smallest sets over which the server can sum. Each unknown mask gives one equation in the
    coefficients of the masked vectors: what is left of the mask is zero."""
    rows = []
    for v in clients:
        if v in corrupt or state[v][0] is None or v not in self_open:
            rows.append([int(w == v) for w in clients])
    for v, w in combinations(honest, 2):
        if not {v, w} & mask_open:
            row = [0] * n
            row[v] = int(w in (state[v][0] or ()))
            row[w] = -int(v in (state[w][0] or ()))
            rows.append(row)
    sums = [s for s in subsets if s and all(sum(row[v] for v in s) == 0 for row in rows)]
    smallest = {s for s in sums if not any(smaller < s for smaller in sums)}
    # No other combination is possible: these span everything that solves the equations.
    assert len(smallest) == n - rank(rows)
    return smallest


states = 0
broken = dict.fromkeys("abcd", 0)
known = {}
for state in product(*map(histories, honest)):
    if answered_too_soon(state):
        continue
    states += 1
    mask_open, self_open = open_secrets(state)
    answerers = {v for v in honest if state[v][2]}
    key = (tuple(u2 for u2, _, _ in state), frozenset(mask_open), frozenset(self_open))
    if key not in known:
        padded = list(state) + [(None, None, False)] * corrupt_count
        known[key] = smallest_sums(padded, mask_open, self_open)
    allowed = {state[v][1] - corrupt for v in answerers}
    broken["a"] += bool(mask_open & self_open)
    broken["b"] += bool(mask_open & answerers)
    broken["c"] += len({state[v][1] for v in answerers}) > 1
    broken["d"] += not known[key] <= allowed
print(states, *(f"{name}:{count}" for name, count in broken.items()))
