"""The best of several variants of one owner looks better than it is: an interval that knows it was picked.

Hybrid inference on winners (Andrews, Kitagawa & McCloskey, QJE 139, 2024, sections 4 and 5): given that the winner won
and all that its estimate is independent of, the estimate is a normal variable cut off below; values of the truth
outside a simultaneous interval of level 1 - alpha / 10 are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.bradley_terry import Fit
from agon.ratings.cells import Array
from agon.ratings.intervals import SCALE, Anchor, normal_draws
from agon.ratings.quantiles import tail_of

_cdf = NormalDist().cdf
_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Selected:
    """The best of some variants, in rating points."""

    model: str
    plain: float
    """the rating as on the board: too high on average, because it was picked for being high"""
    estimate: float
    """as likely too high as too low, given the picking"""
    lower: float
    upper: float


def best_of(
    fitted: Fit, variants: Sequence[str], *, anchor: Anchor | None = None, level: float = 0.95, seed: int = 0
) -> Selected:
    """The best rated of an owner's variants with an interval adjusted for the choice.

    Raises `InvalidRequest` for fewer than two variants, one that the fit does not have, or the anchor among them.
    """
    anchor = anchor or Anchor()
    if len(set(variants)) < 2 or anchor.model in variants:
        raise InvalidRequest("a selection needs at least two different variants, none of them the anchor")
    contrast = np.zeros((len(variants), len(fitted.models)))
    for row, name in enumerate(variants):
        contrast[row, fitted.index(name)] = SCALE
        if anchor.model is not None:
            contrast[row, fitted.index(anchor.model)] = -SCALE
    x = contrast @ fitted.theta
    covariance = contrast @ fitted.covariance @ contrast.T
    best = int(np.argmax(x))
    if not covariance[best, best] > 0:
        raise InvalidRequest("the best variant's rating has no variance: there are too few votes")

    error = float(np.sqrt(covariance[best, best]))
    ratio = covariance[:, best] / covariance[best, best]
    rest = x - ratio * x[best]
    slack = 1 - ratio
    bounds = [(rest[k] / slack[k], slack[k] > 0) for k in range(len(x)) if k != best and abs(slack[k]) > 1e-12]
    low = max((bound for bound, below in bounds if below), default=-np.inf)
    high = min((bound for bound, below in bounds if not below), default=np.inf)

    alpha = 2 * tail_of(level)
    beta = alpha / 10
    reach = _simultaneous(covariance, 1 - beta, seed) * error
    y = float(x[best])

    def below(mean: float) -> float:
        """P(estimate <= y) if the truth were `mean`: falls as it rises."""
        a, b = max(low, mean - reach), min(high, mean + reach)
        a, b, at = ((v - mean) / error for v in (a, b, y))
        room = _cdf(b) - _cdf(a)
        return (_cdf(at) - _cdf(a)) / room if room > 0 else float(at > a)

    tail = (alpha - beta) / (1 - beta) / 2
    lower, estimate, upper = (anchor.rating + _root(below, q, y - reach, y + reach) for q in (1 - tail, 0.5, tail))
    return Selected(variants[best], anchor.rating + y, estimate, lower, upper)


def _root(falling: Callable[[float], float], value: float, low: float, high: float) -> float:
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return (low + high) / 2


def _simultaneous(covariance: Array, level: float, seed: int) -> float:
    """The quantile of the largest |error| among the variants, in standard errors."""
    noise = normal_draws(np.random.default_rng(seed), covariance, _DRAWS)
    errors = np.sqrt(np.diag(covariance))
    return float(np.quantile(np.abs(noise / np.where(errors > 0, errors, np.inf)[:, None]).max(axis=0), level))
