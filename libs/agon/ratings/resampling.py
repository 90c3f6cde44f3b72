"""Exact multinomial resamples of counted votes, without touching single votes.

Poisson counts at a slightly lower rate than the votes came, then the missing votes one by one: given their sum, Poisson
counts are multinomial, and so are both parts together. Where the first part overshoots (a chance below 1e-6) the round
is drawn plainly.
"""

import numpy as np

from agon.ratings.cells import Array, Counts

# The first part stays so many standard deviations below the number of votes.
_MARGIN = 5.0
# Up to this mean a count is looked up; few kinds of votes have more, and numpy draws those.
_TABLED = 256
# Slots of a lookup: ten random bits decide for most draws, a further number within the slot for the others.
_SLOTS = 1024
# So few votes are drawn plainly.
_PLAIN = 200
# Votes up to which the kind of each is kept in a list.
_LISTED = 5_000_000


def multinomial(rng: np.random.Generator, counts: Counts, rounds: int) -> Counts:
    """(rounds, K) draws of sum(counts) votes with the probabilities counts / sum(counts); counts (K,) are positive."""
    n = int(counts.sum())
    if n <= _PLAIN:
        return rng.multinomial(n, counts / n, rounds)
    share = 1 - _MARGIN / np.sqrt(n)
    drawn = _poisson(rng, counts, share, rounds)
    lacking = n - drawn.sum(axis=1)
    over = np.flatnonzero(lacking < 0)
    drawn[over] = rng.multinomial(n, counts / n, len(over))
    kinds = np.repeat(np.arange(len(counts)), counts) if n <= _LISTED else None
    ends = np.cumsum(counts)
    for b in np.flatnonzero(lacking > 0):
        votes = rng.integers(0, n, int(lacking[b]))
        picked = kinds[votes] if kinds is not None else np.searchsorted(ends, votes, side="right")
        drawn[b] += np.bincount(picked, minlength=len(counts))
    return drawn


def _poisson(rng: np.random.Generator, counts: Counts, share: float, rounds: int) -> Counts:
    """(rounds, K) Poisson draws with means counts * share."""
    small = counts <= _TABLED
    distinct, row = np.unique(counts[small], return_inverse=True)
    looked_up = _looked_up(rng, distinct * share, row, rounds) if len(distinct) else np.empty((rounds, 0), np.int64)
    if small.all():
        return looked_up
    drawn = np.empty((rounds, len(counts)), dtype=np.int64)
    where = np.flatnonzero(small)
    for into, found in zip(drawn, looked_up, strict=True):
        into[where] = found
    drawn[:, ~small] = rng.poisson(counts[~small] * share, (rounds, int((~small).sum())))
    return drawn


def _looked_up(rng: np.random.Generator, means: Array, row: Counts, rounds: int) -> Counts:
    """(rounds, K) Poisson draws with mean means[row] by inversion: the smallest k with u < P(X <= k)."""
    cumulative = _cumulative(means)
    width = cumulative.shape[1]
    edges = np.arange(_SLOTS + 1) / _SLOTS
    at_edge = np.stack([np.searchsorted(line, edges, side="right") for line in cumulative])
    slots = np.where(at_edge[:, :-1] == at_edge[:, 1:], at_edge[:, :-1], -1).astype(np.int16).ravel()
    # Line after line in one sorted array: line r holds r + P(X <= k).
    lines = (cumulative + np.arange(len(means))[:, None]).ravel()
    base = (row * _SLOTS).astype(np.intp)
    found = np.empty((rounds, len(row)), dtype=np.int64)
    for b in range(rounds):
        slot = np.frombuffer(rng.bytes(2 * len(row)), dtype="<u2") & (_SLOTS - 1)
        drawn = slots.take(base + slot)
        open_ = np.flatnonzero(drawn < 0)
        line = row[open_]
        u = (slot[open_] + rng.random(len(open_))) / _SLOTS
        drawn[open_] = np.searchsorted(lines, line + u, side="right") - line * width
        found[b] = drawn
    return found


def _cumulative(means: Array) -> Array:
    """(R, k) P(X <= k) of Poisson variables, to where less than 1e-16 is left; the last column is 1."""
    top = int(means.max() + 12 * np.sqrt(means.max()) + 30)
    k = np.arange(top)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, top)))])
    logs = k * np.log(means)[:, None] - means[:, None] - log_factorial
    cumulative: Array = np.minimum(np.cumsum(np.exp(logs), axis=1), 1.0)
    cumulative[:, -1] = 1.0
    return cumulative
