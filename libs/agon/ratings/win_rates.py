"""Win rates: what happened, without a model."""

from dataclasses import dataclass

import numpy as np

from agon.ratings.cells import Array, Counts, PairCells
from agon.ratings.sums import PairSums


@dataclass(frozen=True, slots=True)
class WinRates:
    """(M,) each, in the order of the models."""

    rate: Array
    """The mean over the opponents met of the share of points won from each; NaN without an opponent"""
    error: Array
    """Its standard error"""
    opponents: Counts
    """How many different models it met: rates of models with different opponents do not compare"""


def win_rates(votes: PairCells | PairSums) -> WinRates:
    """The average win rate against the pool, each opponent counting the same, ties and both bad as half a win.

    The error treats a pair's votes as independent; a pair's variance is never taken for less than that of one surprise
    (as if half a win and half a loss had been added).
    """
    sums = votes if isinstance(votes, PairSums) else PairSums.of(votes)
    n = sums.totals
    met = n > 0
    opponents = met.sum(axis=1)
    share = np.divide(sums.points, n, out=np.zeros_like(n), where=met)
    square = np.divide(sums.wins + (sums.ties + sums.both_bad) / 4 + 0.5, n + 1, out=np.zeros_like(n), where=met)
    mean = np.divide(sums.points + 0.5, n + 1, out=np.zeros_like(n), where=met)
    variance = np.divide(square - mean**2, n, out=np.zeros_like(n), where=met)
    count = np.where(opponents > 0, opponents, np.nan)
    return WinRates(share.sum(axis=1) / count, np.sqrt(variance.sum(axis=1)) / count, opponents.astype(np.int64))
