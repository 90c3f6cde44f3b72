"""How few votes decide the first place, and which.

The approximate maximum influence perturbation (Broderick, Giordano & Meager, arXiv 2011.14999; for arenas Huang et al.,
arXiv 2508.11847): to first order, removing a vote moves theta by -H+ x (y - p). The votes that hold the gap between
first and rival up most are removed, most influential first; how many it takes is then found by refitting.
"""

from dataclasses import dataclass

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.bradley_terry import Fit, fit
from agon.ratings.cells import CELL, Array, Counts, PairCells
from agon.ratings.sums import PairSums

_OUTCOMES = tuple(CELL)
# Rivals whose first-order count is among the smallest so many are refitted.
_RIVALS = 5


@dataclass(frozen=True, slots=True)
class RemovedVotes:
    """`count` votes of one kind. Votes of a kind are alike: any of them will do."""

    left: str
    right: str
    outcome: str
    count: int


@dataclass(frozen=True, slots=True)
class Influence:
    """The fewest votes found whose removal changes the first place."""

    first: str
    successor: str
    """who is first without them"""
    votes: int
    share: float
    """of all votes"""
    removed: tuple[RemovedVotes, ...]
    """which, most influential first"""


def votes_to_dethrone(cells: PairCells) -> Influence | None:
    """Find few votes without which another model has the highest rating; None if there are none to be found.

    An upper bound that is nearly always the least: the refit shows that these votes are enough. Takes about 20 refits
    for each of the five nearest rivals. Raises `InvalidRequest` where there is no fit.
    """
    fitted = fit(cells)
    first = int(np.argmax(fitted.theta))
    gains = _gains(cells, fitted, first)
    plans = []
    for rival in range(len(fitted.theta)):
        if rival == first:
            continue
        order, least = _plan(cells.counts.ravel(), gains[:, rival], float(fitted.theta[first] - fitted.theta[rival]))
        if least is not None:
            plans.append((least, rival, order))
    found: Influence | None = None
    for least, _, order in sorted(plans, key=lambda plan: plan[:2])[:_RIVALS]:
        better = _search(cells, fitted, order, first, least, cells.votes if found is None else found.votes - 1)
        found = better or found
    return found


def _gains(cells: PairCells, fitted: Fit, first: int) -> Array:
    """(4P, M) by how much removing one vote of a kind brings each model nearer to the first, log-odds."""
    theta, inverse = fitted.theta, fitted.information_inverse
    p = 1 / (1 + np.exp(theta[cells.right] - theta[cells.left]))
    residual = np.array([1.0, 0.0, 0.5, 0.5])[None, :] - p[:, None]
    moved = inverse[cells.left] - inverse[cells.right]
    leverage = (p * (1 - p)) * (moved[np.arange(len(p)), cells.left] - moved[np.arange(len(p)), cells.right])
    towards = (moved[:, first, None] - moved) / np.maximum(1 - leverage, 1e-3)[:, None]
    gains: Array = (residual[:, :, None] * towards[:, None, :]).reshape(-1, len(theta))
    return gains


def _plan(counts: Counts, gain: Array, gap: float) -> tuple[Counts, int | None]:
    """Kinds by falling gain, those that gain something; and how many votes close the gap to first order."""
    order = np.flatnonzero((gain > 0) & (counts > 0)).astype(np.int64)
    order = order[np.argsort(-gain[order], kind="stable")]
    closed = np.cumsum(counts[order] * gain[order])
    if not len(order) or closed[-1] <= gap:
        return order, None
    at = int(np.searchsorted(closed, gap))
    before = closed[at] - counts[order[at]] * gain[order[at]]
    taken = int(counts[order[:at]].sum()) + int(np.ceil((gap - before) / gain[order[at]]))
    return order, max(taken, 1)


def _search(cells: PairCells, fitted: Fit, order: Counts, first: int, guess: int, most: int) -> Influence | None:
    """The least number of votes in this order that dethrones the first, by doubling and halving; None above `most`."""
    most = min(most, int(cells.counts.ravel()[order].sum()))
    successors: dict[int, int | None] = {}

    def successor(n: int) -> int | None:
        if n not in successors:
            successors[n] = _first_without(cells, fitted, order, n, first)
        return successors[n]

    low, high = 0, min(guess, most)
    while high > 0 and successor(high) is None:
        if high >= most:
            return None
        low, high = high, min(high + max(1, high // 4), most)
    if high < 1:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if successor(middle) is not None else (middle, high)
    after = successor(high)
    assert after is not None
    return Influence(
        cells.models[first], cells.models[after], high, high / cells.votes, tuple(_removed(cells, order, high))
    )


def _without(cells: PairCells, order: Counts, n: int) -> Counts:
    """(4P,) how many votes of each kind are among the first n."""
    counts = cells.counts.ravel()[order]
    taken = np.zeros(cells.counts.size, dtype=np.int64)
    taken[order] = np.clip(n - (np.cumsum(counts) - counts), 0, counts)
    return taken


def _first_without(cells: PairCells, fitted: Fit, order: Counts, n: int, first: int) -> int | None:
    rest = cells.counts - _without(cells, order, n).reshape(-1, 4)
    try:
        theta = fit(PairSums.of(PairCells(cells.models, cells.left, cells.right, rest)), fitted.theta).theta
    except InvalidRequest:
        return None
    now = int(np.argmax(theta))
    return now if now != first and theta[now] > theta[first] else None


def _removed(cells: PairCells, order: Counts, n: int) -> list[RemovedVotes]:
    taken = _without(cells, order, n)
    return [
        RemovedVotes(
            cells.models[cells.left[kind // 4]],
            cells.models[cells.right[kind // 4]],
            _OUTCOMES[kind % 4],
            int(taken[kind]),
        )
        for kind in order.tolist()
        if taken[kind]
    ]
