"""Bradley-Terry: the exact maximum by damped Newton, and its sandwich covariance.

With d = theta_i - theta_j the model says P(i beats j) = 1 / (1 + exp(-d)). Ties and both bad are half a win for each
side. The log-likelihood is concave with the null direction 1 (all ratings may shift); on a strongly connected graph its
maximum exists and is unique up to that shift (Hunter, Annals of Statistics 32, 2004, section 2).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agon.errors import InvalidRequest
from agon.ratings.cells import PairCells
from agon.ratings.components import scored, strong_components

METHOD = "bradley_terry"

# A Newton step of 1e-10 log-odds is 2e-8 rating points; a gradient of this share of its terms is rounding.
_SMALL_STEP = 1e-10
_ROUNDING = 1e-14
_MOST_ITERATIONS = 100

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Fit:
    """A maximum. M models, in the order of the cells' models."""

    theta: Array
    """(M,) natural log-odds, mean 0"""
    covariance: Array
    """(M, M) sandwich covariance of `theta`, H+ G H+ with H+ the pseudo-inverse of the information (HC0)"""
    information_inverse: Array
    """(M, M) H+ itself: the covariance if the model were exactly right"""
    gradient: float
    """The largest |wins - expected wins| of a model, in votes: how far from the maximum the search stopped."""
    iterations: int

    def difference_error(self, i: int, j: int) -> float:
        """The standard error of theta_i - theta_j."""
        v = self.covariance
        return float(np.sqrt(max(v[i, i] + v[j, j] - 2 * v[i, j], 0.0)))


def fit(cells: PairCells, start: Array | None = None) -> Fit:
    """Fit cells whose models form one strong component; `start` (M,) makes a refit after a few votes cheap.

    Raises `InvalidRequest` if the maximum does not exist (fewer than two models, or not one strong component) or can't
    be reached in floating point.
    """
    heads, tails = scored(cells)
    if len(strong_components(len(cells.models), heads.tolist(), tails.tolist())) != 1 or len(cells.models) < 2:
        raise InvalidRequest("there are no finite ratings: some models never lost, never won, or never met the others")
    return maximise(cells, start)


def maximise(cells: PairCells, start: Array | None = None) -> Fit:
    """`fit` for cells that are known to be one strong component of at least two models."""
    m = len(cells.models)
    points = _points(cells)
    i, j = np.nonzero(np.triu(points + points.T))
    pairs = _Pairs(m, i, j, points[i, j], points[j, i])
    theta: Array = np.zeros(m)
    if start is not None:
        warm = start - np.mean(start)
        # A start from other votes may be worse than none, and so far off that the curvature there is nothing.
        theta = warm if pairs.likelihood(warm) > pairs.likelihood(theta) else theta

    iterations = 0
    while True:
        gradient, terms = pairs.gradient(theta)
        inverse = _pseudo_inverse(pairs.information(theta))
        step = inverse @ gradient
        if np.max(np.abs(gradient) / terms) <= _ROUNDING or np.max(np.abs(step)) <= _SMALL_STEP:
            break
        if iterations == _MOST_ITERATIONS:
            raise InvalidRequest("the ratings are too far apart for floating point: some models nearly never lost")
        theta = _ascend(pairs, theta, step, float(gradient @ step))
        iterations += 1

    meat = _laplacian(i, j, _squared_scores(cells, theta)[i, j], m)
    return Fit(theta, inverse @ meat @ inverse, inverse, float(np.max(np.abs(gradient))), iterations)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Unordered pairs (P,) of m models, and the points (wins, and half the ties) of either side."""

    m: int
    i: npt.NDArray[np.int64]
    j: npt.NDArray[np.int64]
    points_i: Array
    points_j: Array

    def likelihood(self, theta: Array) -> float:
        """The log-likelihood, log P of each point."""
        d = theta[self.i] - theta[self.j]
        return -float(np.sum(self.points_i * np.logaddexp(0, -d) + self.points_j * np.logaddexp(0, d)))

    def gradient(self, theta: Array) -> tuple[Array, Array]:
        """(M,) points minus expected points, and (M,) the size of the terms it is the sum of.

        Each point counts with the probability that it had gone the other way: exact also where that is tiny.
        """
        d = theta[self.i] - theta[self.j]
        up, down = self.points_i * _sigmoid(-d), self.points_j * _sigmoid(d)
        gradient, terms = np.zeros(self.m), np.zeros(self.m)
        np.add.at(gradient, self.i, up - down)
        np.subtract.at(gradient, self.j, up - down)
        np.add.at(terms, self.i, up + down)
        np.add.at(terms, self.j, up + down)
        return gradient, terms

    def information(self, theta: Array) -> Array:
        """(M, M) minus the Hessian."""
        d = theta[self.i] - theta[self.j]
        return _laplacian(self.i, self.j, (self.points_i + self.points_j) * _sigmoid(d) * _sigmoid(-d), self.m)


def _points(cells: PairCells) -> Array:
    """(M, M) points of the row's model against the column's; a tie and both bad are half a point for each."""
    m = len(cells.models)
    left_wins, right_wins, ties, both_bad = cells.counts.T.astype(np.float64)
    shared = (ties + both_bad) / 2
    points = np.zeros((m, m))
    np.add.at(points, (cells.left, cells.right), left_wins + shared)
    np.add.at(points, (cells.right, cells.left), right_wins + shared)
    return points


def _squared_scores(cells: PairCells, theta: Array) -> Array:
    """(M, M) symmetric: the sum over a pair's votes of (y - p) squared, y in {1, 1/2, 0}."""
    m = len(cells.models)
    d = theta[cells.left] - theta[cells.right]
    left_wins, right_wins, ties, both_bad = cells.counts.T
    p, q = _sigmoid(d), _sigmoid(-d)
    squares = left_wins * q**2 + right_wins * p**2 + (ties + both_bad) * (0.5 - p) ** 2
    total = np.zeros((m, m))
    np.add.at(total, (cells.left, cells.right), squares)
    return total + total.T


def _sigmoid(x: Array) -> Array:
    probability: Array = np.exp(-np.logaddexp(0, -x))
    return probability


def _laplacian(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], weights: Array, m: int) -> Array:
    """(M, M) the sum over pairs of weight * (e_i - e_j)(e_i - e_j)'."""
    matrix = np.zeros((m, m))
    matrix[i, j] = matrix[j, i] = -weights
    matrix[np.diag_indices(m)] = -matrix.sum(axis=1)
    return matrix


def _pseudo_inverse(laplacian: Array) -> Array:
    """Invert a connected graph's Laplacian off its null direction 1: add c 11'/M, invert, take it away again. Exact."""
    m = len(laplacian)
    c = float(np.trace(laplacian)) / m
    try:
        return np.linalg.inv(laplacian + c / m) - 1 / (c * m)
    except np.linalg.LinAlgError as error:
        raise InvalidRequest("the ratings are too far apart for floating point") from error


def _ascend(pairs: _Pairs, theta: Array, step: Array, slope: float) -> Array:
    """A Newton step, halved until the log-likelihood rises enough (Armijo), or only rounding is left of it."""
    here = pairs.likelihood(theta)
    least = here - _ROUNDING * abs(here)
    size = 1.0
    while size > 1e-8 and pairs.likelihood(theta + size * step) < least + 1e-4 * size * slope:
        size /= 2
    moved = theta + size * step
    centred: Array = moved - moved.mean()
    return centred
