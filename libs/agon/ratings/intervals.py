"""What a covariance says: intervals of ratings and differences, who is better, and ranks that hold together."""

from dataclasses import dataclass, replace

import numpy as np

from agon.ratings.bradley_terry import Fit
from agon.ratings.cells import Array
from agon.ratings.quantiles import normal_cdf, two_sided

SCALE = 400 / float(np.log(10))
"""Rating points per unit of log-odds: 400 points are odds of 10 to 1."""
CENTRE = 1000.0
"""The mean of a board's ratings."""

FEW_VOTES = 30
"""Below so many votes a model's sandwich variance means little (one tie would give 0), so the larger of it and the
information's is taken."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A fixed point of the scale: `model` stands at `rating`, or the mean of all models if it is None.

    Intervals are then those of the distance from it: the model's own has no width, and each other's is that of a
    difference.
    """

    model: str | None = None
    rating: float = CENTRE


@dataclass(frozen=True, slots=True)
class Ratings:
    """In rating points, (M,) each, in the order of the fit's models."""

    rating: Array
    error: Array
    lower: Array
    upper: Array


@dataclass(frozen=True, slots=True)
class Difference:
    """One model's rating less another's, in rating points."""

    estimate: float
    error: float
    lower: float
    upper: float
    better: float
    """P(the first is better): a posterior with a flat prior, so it is not the chance that it will stay ahead"""


def guarded(fitted: Fit, votes: Array) -> Fit:
    """The fit with the variance of each model below `FEW_VOTES` raised to the information's where that is larger.

    `votes` (M,). Differences get the same addition, and the matrix stays a covariance.
    """
    lacking = np.diag(fitted.information_inverse) - np.diag(fitted.covariance)
    added = np.where(votes < FEW_VOTES, np.maximum(lacking, 0.0), 0.0)
    return replace(fitted, covariance=fitted.covariance + np.diag(added)) if added.any() else fitted


def ratings(fitted: Fit, *, anchor: Anchor | None = None, level: float = 0.95) -> Ratings:
    """Ratings with intervals, relative to the anchor: var(theta_i - theta_r) = V_ii + V_rr - 2 V_ir.

    Raises `InvalidRequest` for an anchor that is not among the fit's models.
    """
    anchor = anchor or Anchor()
    theta, variance = fitted.theta, np.diag(fitted.covariance)
    if anchor.model is not None:
        r = fitted.index(anchor.model)
        theta = theta - theta[r]
        variance = variance + fitted.covariance[r, r] - 2 * fitted.covariance[:, r]
    error = SCALE * np.sqrt(np.maximum(variance, 0.0))
    rating = anchor.rating + SCALE * theta
    half = two_sided(level, fitted.degrees) * error
    return Ratings(rating, error, rating - half, rating + half)


def difference(fitted: Fit, model: str, other: str, *, level: float = 0.95) -> Difference:
    """How far `model` is above `other`. Raises `InvalidRequest` for a model that the fit does not have."""
    i, j = fitted.index(model), fitted.index(other)
    estimate = SCALE * float(fitted.theta[i] - fitted.theta[j])
    error = SCALE * fitted.difference_error(i, j)
    half = two_sided(level, fitted.degrees) * error
    return Difference(estimate, error, estimate - half, estimate + half, float(probability_better(fitted)[i, j]))


def difference_errors(fitted: Fit) -> Array:
    """(M, M) standard errors of theta_i - theta_j, log-odds."""
    v = fitted.covariance
    variance = np.diag(v)
    error: Array = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - v - v.T, 0.0))
    np.fill_diagonal(error, 0.0)
    return error


def probability_better(fitted: Fit) -> Array:
    """(M, M) P(row better than column), 1/2 on the diagonal: the normal posterior that a flat prior gives."""
    gap = fitted.theta[:, None] - fitted.theta[None, :]
    error = difference_errors(fitted)
    standard = np.divide(gap, error, out=np.sign(gap) * 40.0, where=error > 0)
    return normal_cdf(standard)


def simultaneous(fitted: Fit, *, level: float = 0.95, draws: int = 4000, seed: int = 0) -> float:
    """How many standard errors all differences may be off at once, with probability `level`: the max-t value.

    The quantile of max |d_ij| / se_ij over all pairs, by `draws` normal draws with the fit's covariance (Student's t
    with clusters). Differences beyond it hold together (Mogstad, Romano, Shaikh & Wilhelm, REStud 91, 2024, section 3).
    """
    two_sided(level, fitted.degrees)
    m = len(fitted.theta)
    rng = np.random.default_rng(seed)
    noise = normal_draws(rng, fitted.covariance, draws)
    if np.isfinite(fitted.degrees):
        noise *= np.sqrt(fitted.degrees / rng.chisquare(fitted.degrees, draws))
    noise = noise.astype(np.float32)
    error = difference_errors(fitted)
    per_error = np.divide(1.0, error, out=np.zeros_like(error), where=error > 0).astype(np.float32)
    largest = np.zeros(draws, dtype=np.float32)
    for i in range(m - 1):
        apart = np.abs(noise[i + 1 :] - noise[i])
        apart *= per_error[i, i + 1 :, None]
        np.maximum(largest, apart.max(axis=0), out=largest)
    return float(np.quantile(largest, level))


def normal_draws(rng: np.random.Generator, covariance: Array, draws: int) -> Array:
    """(M, draws) normal errors with this covariance (M, M), which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    noise: Array = (vectors * np.sqrt(np.maximum(values, 0.0))) @ rng.standard_normal((len(values), draws))
    return noise


@dataclass(frozen=True, slots=True)
class RankRanges:
    """(M,) the best and the worst rank each model may have, in the order of the fit's models, counted from 1."""

    best: Array
    worst: Array


def rank_ranges(fitted: Fit, critical: float) -> RankRanges:
    """Ranks from differences: a model is behind whoever is ahead by more than `critical` standard errors.

    With `two_sided(level)` each single comparison holds with that level; with `simultaneous(fit)` all ranges hold at
    once.
    """
    gap = fitted.theta[:, None] - fitted.theta[None, :]
    above = gap > critical * difference_errors(fitted)
    np.fill_diagonal(above, False)
    m = len(fitted.theta)
    return RankRanges(1 + above.sum(axis=0), m - above.sum(axis=1))
