"""How many more votes would tell two models apart."""

import math

import numpy as np

from agon.ratings.bradley_terry import Fit
from agon.ratings.quantiles import two_sided
from agon.ratings.sums import PairSums

MOST_VOTES = 10**9
"""More votes than this are `None`: nobody will cast them."""


def votes_to_separate(fitted: Fit, sums: PairSums, model: str, other: str, *, level: float = 0.95) -> int | None:
    """Further votes between the two until the interval of their difference leaves out 0, if the difference stays.

    0 if it does already. A direct vote adds the information I^2 / J, I = p (1 - p) and J = I - t / 4 the variance of
    its score with the share t of ties among all votes; n of them turn the variance v of the difference into
    v / (1 + n v I^2 / J). None where the two are level, or it would take more than a billion.
    """
    i, j = fitted.index(model), fitted.index(other)
    gap = abs(float(fitted.theta[i] - fitted.theta[j]))
    variance = fitted.difference_error(i, j) ** 2
    needed = (gap / two_sided(level, fitted.degrees)) ** 2
    if variance < needed:
        return 0
    p = 1 / (1 + math.exp(-gap))
    information = p * (1 - p)
    total = float(np.triu(sums.totals).sum())
    ties = float(np.triu(sums.ties + sums.both_bad).sum()) / total if total else 0.0
    noise = max(information - min(ties, 2 * (1 - p)) / 4, information / 20)
    each = information**2 / noise
    votes = (variance / needed - 1) / (variance * each) if needed > 0 else math.inf
    return math.ceil(votes) if votes <= MOST_VOTES else None
