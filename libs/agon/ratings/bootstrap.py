"""The bootstrap: what other votes of the same kind would have said.

A round draws as many votes as there are, with replacement: a multinomial draw over the kinds of votes (pair and
outcome), which is exact (Efron, Annals of Statistics 7, 1979).
"""

from dataclasses import dataclass

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.bradley_terry import Fit, maximise
from agon.ratings.cells import Array, Counts
from agon.ratings.components import main_component
from agon.ratings.intervals import SCALE, Anchor, Ratings
from agon.ratings.quantiles import tail_of
from agon.ratings.resampling import multinomial
from agon.ratings.sums import PairSums

# log-odds; a thousandth of the error that a hundred thousand rounds would leave
_SMALL_STEP = 1e-6
_MOST_STEPS = 60


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """B rounds of M models, in the order of the fit's models."""

    fit: Fit
    theta: Array
    """(B, M) log-odds, on the fit's scale; NaN for a model that a round could not compare"""
    disconnected: int
    """rounds in which some model could not be compared: it drew no vote, or only wins, or only losses"""
    missing: Counts
    """(M,) rounds that each model is missing from"""

    def ratings(self, *, anchor: Anchor | None = None, level: float = 0.95) -> Ratings:
        """The fit's ratings with percentile intervals of the rounds, relative to the anchor in each round.

        The error is the standard deviation over rounds. Rounds without the model, or the anchor, are left out.
        """
        tail = tail_of(level)
        anchor = anchor or Anchor()
        base, rounds = self.fit.theta, self.theta
        if anchor.model is not None:
            at = self.fit.index(anchor.model)
            base, rounds = base - base[at], rounds - rounds[:, at : at + 1]
        lower, upper = np.nanquantile(rounds, [tail, 1 - tail], axis=0)
        return Ratings(
            anchor.rating + SCALE * base,
            SCALE * np.nanstd(rounds, axis=0, ddof=1),
            anchor.rating + SCALE * lower,
            anchor.rating + SCALE * upper,
        )


def bootstrap(sums: PairSums, rounds: int = 100, *, seed: int = 0) -> Bootstrap:
    """Refit Bradley-Terry to `rounds` exact multinomial resamples of unweighted votes that form one strong component.

    Every round is fitted from the full fit's maximum and curvature until no step exceeds 1e-6 log-odds. A round whose
    resample falls apart is fitted on its main component, and counted. Raises `InvalidRequest` for weighted votes and
    where there is no fit.
    """
    if sums.wins is not sums.wins_squared:
        raise InvalidRequest("the bootstrap draws whole votes: it takes them unweighted")
    if rounds < 2:
        raise InvalidRequest(f"a bootstrap needs at least two rounds: {rounds}", param="rounds")
    full = maximise(sums)
    m = len(full.theta)
    rng = np.random.default_rng(seed)
    halves = np.triu(sums.ties + sums.both_bad)
    counts = np.stack([sums.wins.ravel(), halves.ravel()]).ravel()
    kinds = np.flatnonzero(counts)
    theta = np.full((rounds, m), np.nan)
    disconnected = 0
    start = np.exp(full.theta)
    for b, drawn in enumerate(multinomial(rng, counts[kinds].astype(np.int64), rounds)):
        cell = np.zeros(2 * m * m)
        cell[kinds] = drawn.astype(np.float64)  # a scatter that converts would take three times as long
        wins, ties = cell.reshape(2, m, m)
        points = wins + (ties + ties.T) / 2
        found = _refit(points, full, start)
        if found is None:
            members = main_component(points, points.sum(axis=1) + points.sum(axis=0))
            disconnected += len(members) < m
            found = _on(members, points, full)
        theta[b] = found
    return Bootstrap(full, theta, disconnected, np.isnan(theta).sum(axis=0))


def _refit(points: Array, full: Fit, start: Array) -> Array | None:
    """Newton's steps with the full fit's curvature; None if they do not come to rest, or the graph has fallen apart.

    Between connected models they come to rest only where there is a finite maximum.
    """
    total = points + points.T
    wins = points.sum(axis=1)
    if not (wins.all() and points.sum(axis=0).all()):
        return None
    theta, strength = full.theta, start
    shared, ones = np.empty_like(total), np.ones(len(total))
    for _ in range(_MOST_STEPS):
        np.add.outer(strength, strength, out=shared)
        np.divide(total, shared, out=shared)
        step = full.information_inverse @ (wins - strength * (shared @ ones))
        theta = theta + step
        if np.abs(step).max() <= _SMALL_STEP:
            return theta if _connected(total) else None
        strength = np.exp(np.clip(theta, -300.0, 300.0))
    return None


def _connected(total: Array) -> bool:
    """Whether votes lead from the first model to every other."""
    seen = np.zeros(len(total))
    seen[0] = 1
    while True:
        further = np.minimum(total @ seen + seen, 1.0)
        if np.count_nonzero(further) == np.count_nonzero(seen):
            return bool(further.all())
        seen = further


def _on(members: list[int], points: Array, full: Fit) -> Array:
    """The main component's ratings, their mean where the full fit has it; NaN for the others."""
    theta = np.full(len(points), np.nan)
    if len(members) >= 2:
        inside = points[np.ix_(members, members)]
        nothing = np.zeros_like(inside)
        found = maximise(PairSums(tuple(map(str, members)), inside, nothing, nothing, inside, nothing, nothing))
        theta[members] = found.theta + full.theta[members].mean()
    return theta
