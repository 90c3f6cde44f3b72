"""Bradley-Terry: the exact maximum by damped Newton, and its sandwich covariance.

With d = theta_i - theta_j the model says P(i beats j) = 1 / (1 + exp(-d)). Ties and both bad are half a win for each
side. The log-likelihood is concave with the null direction 1 (all ratings may shift); on a strongly connected graph its
maximum exists and is unique up to that shift (Hunter, Annals of Statistics 32, 2004, section 2).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.cells import Array, PairCells
from agon.ratings.components import main_component
from agon.ratings.definite import inverse_of
from agon.ratings.sums import PairSums

METHOD: Final = "bradley_terry"

# A Newton step of 1e-10 log-odds is 2e-8 rating points; a gradient of this share of its terms is rounding.
_SMALL_STEP = 1e-10
_ROUNDING = 1e-14
_MOST_ITERATIONS = 100
# Newton's error squares: after a step of this size the next one is small, and is taken with the covariance's inverse,
# which is the maximum's own where that step is as small as the other.
_NEARLY = 1e-4
_LAST_STEP = 1e-8
# No log-odds changes by more than twice a step; a change of a falls short of the expected gain g by at most
# g (exp(a) - 1) / 2 (Bach, Electronic Journal of Statistics 4, 2010), so that a step of this size always rises.
_SURE_STEP = 0.3
# exp(350) and its square are numbers.
_WIDEST = 700.0


@dataclass(frozen=True, slots=True)
class Fit:
    """A maximum. M models, in the order of the cells' models."""

    models: tuple[str, ...]
    theta: Array
    """(M,) natural log-odds, mean 0 (but for the grounded model, whose zero means something)"""
    covariance: Array
    """(M, M) covariance of `theta`; from a fit it is the sandwich H+ G H+, with H+ the pseudo-inverse of the
    information (HC0)"""
    information_inverse: Array
    """(M, M) H+ itself: the covariance if the model were exactly right (Fisher)"""
    gradient: float
    """The largest |wins - expected wins| of a model, in votes: how far from the maximum the search stopped."""
    iterations: int
    degrees: float = np.inf
    """Degrees of freedom that the covariance was estimated with: clusters less one, infinite for single votes."""
    parameter: float | None = None
    """A tie model's one further parameter: eta (Rao-Kupper, grounded) or log nu (Davidson)"""
    parameter_error: float | None = None
    """Its standard error (sandwich)"""

    def index(self, model: str) -> int:
        """Where a model stands in the arrays. Raises `InvalidRequest` for one that was not fitted."""
        try:
            return self.models.index(model)
        except ValueError:
            raise InvalidRequest(f"model {model!r} is not among the rated ones", param="model") from None

    def difference_error(self, i: int, j: int) -> float:
        """The standard error of theta_i - theta_j."""
        v = self.covariance
        return float(np.sqrt(max(v[i, i] + v[j, j] - 2 * v[i, j], 0.0)))


def fit(votes: PairCells | PairSums, start: Array | None = None) -> Fit:
    """Fit votes whose models form one strong component; `start` (M,) makes a refit after a few votes cheap.

    Raises `InvalidRequest` if the maximum does not exist (fewer than two models, or not one strong component) or can't
    be reached in floating point.
    """
    sums = votes if isinstance(votes, PairSums) else PairSums.of(votes)
    m = len(sums.models)
    if m < 2 or len(main_component(sums.points, sums.totals.sum(axis=1))) < m:
        raise InvalidRequest("there are no finite ratings: some models never lost, never won, or never met the others")
    return maximise(sums, start)


def maximise(sums: PairSums, start: Array | None = None) -> Fit:
    """`fit` for sums that are known to be one strong component of at least two models."""
    points = sums.points
    total = points + points.T
    theta, p = _start(points, start)

    iterations, size = 0, np.inf
    while True:
        gradient, terms = _gradient(points, p)
        information = laplacian(total * p * p.T)
        inverse = pseudo_inverse(information) if size <= _NEARLY else None
        step = _solve(information, gradient) if inverse is None else inverse @ gradient
        size = float(np.max(np.abs(step)))
        if np.max(np.abs(gradient) / terms) <= _ROUNDING or size <= _SMALL_STEP:
            break
        if iterations == _MOST_ITERATIONS:
            raise InvalidRequest("the ratings are too far apart for floating point: some models nearly never lost")
        theta, p = _ascend(points, theta, p, step, float(gradient @ step))
        iterations += 1
        if inverse is not None and size <= _LAST_STEP:
            gradient, _ = _gradient(points, p)
            break

    inverse = pseudo_inverse(information) if inverse is None else inverse
    meat = laplacian(_squared_scores(sums, p))
    return Fit(sums.models, theta, inverse @ meat @ inverse, inverse, float(np.max(np.abs(gradient))), iterations)


def win_matrix(theta: Array) -> Array:
    """(M, M) P(row beats column) = 1 / (1 + exp(theta_j - theta_i)); the diagonal is 1/2."""
    high, low = float(theta.max(initial=0.0)), float(theta.min(initial=0.0))
    if high - low <= _WIDEST:  # a division for each pair costs less than an exponential
        strength = np.exp(theta - (high + low) / 2)
        probability: Array = strength[:, None] / (strength[:, None] + strength[None, :])
    else:
        probability = 1 / (1 + np.exp(np.clip(theta[None, :] - theta[:, None], -_WIDEST, _WIDEST)))
    return probability


def laplacian(weights: Array) -> Array:
    """(M, M) the sum over pairs of weight * (e_i - e_j)(e_i - e_j)', for symmetric weights (M, M)."""
    matrix: Array = -weights
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


def pseudo_inverse(laplacian: Array) -> Array:
    """Invert a connected graph's Laplacian off its null direction 1: add c 11'/M, invert, take it away again. Exact."""
    m = len(laplacian)
    c = float(np.trace(laplacian)) / m
    try:
        inverse: Array = inverse_of(laplacian + c / m) - 1 / (c * m)
    except np.linalg.LinAlgError as error:
        raise InvalidRequest("the ratings are too far apart for floating point") from error
    return inverse


def _solve(information: Array, gradient: Array) -> Array:
    m = len(information)
    c = float(np.trace(information)) / m
    try:
        step: Array = np.linalg.solve(information + c / m, gradient)
    except np.linalg.LinAlgError as error:
        raise InvalidRequest("the ratings are too far apart for floating point") from error
    step -= step.mean()
    return step


def _start(points: Array, start: Array | None) -> tuple[Array, Array]:
    """(M,) where the search begins, and its win matrix.

    A start from other votes may be worse than none, and so far off that the curvature there is nothing.
    """
    if start is not None:
        theta = start - np.mean(start)
        p = win_matrix(theta)
        if _likelihood(points, p) > np.log(0.5) * points.sum():
            return theta, p
    return np.zeros(len(points)), np.full_like(points, 0.5)


def _likelihood(points: Array, p: Array) -> float:
    """The log-likelihood, log P of each point."""
    return float(np.sum(points * np.log(p)))


def _gradient(points: Array, p: Array) -> tuple[Array, Array]:
    """(M,) points minus expected points, and (M,) the size of the terms it is the sum of.

    Each point counts with the probability that it had gone the other way: exact also where that is tiny.
    """
    surprise = points * p.T
    won, lost = surprise.sum(axis=1), surprise.sum(axis=0)
    return won - lost, won + lost


def _squared_scores(sums: PairSums, p: Array) -> Array:
    """(M, M) symmetric: the sum over a pair's votes of weight squared times (y - p) squared, y in {1, 1/2, 0}."""
    won = sums.wins_squared * np.square(p.T)
    halves = sums.ties_squared + sums.both_bad_squared
    total: Array = won + won.T + halves * np.square(p - 0.5)
    return total


def _ascend(points: Array, theta: Array, p: Array, step: Array, slope: float) -> tuple[Array, Array]:
    """A Newton step, halved until the log-likelihood rises enough (Armijo), or only rounding is left of it."""
    if np.max(np.abs(step)) <= _SURE_STEP:
        moved = theta + step
        moved -= moved.mean()
        return moved, win_matrix(moved)
    here = _likelihood(points, p)
    least = here - _ROUNDING * abs(here)
    size = 1.0
    while True:
        moved = theta + size * step
        moved -= moved.mean()
        p = win_matrix(moved)
        if size <= 1e-8 or _likelihood(points, p) >= least + 1e-4 * size * slope:
            return moved, p
        size /= 2
