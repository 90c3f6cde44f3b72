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

METHOD = "bradley_terry"

# A relative gradient: |wins - expected wins| of a model per vote of it. Rounding alone leaves about 1e-15.
_TOLERANCE = 1e-12
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

    Raises `InvalidRequest` if the maximum does not exist (the models are not one strong component) or can't be reached
    in floating point.
    """
    m = len(cells.models)
    if m < 2:
        raise InvalidRequest("a rating needs at least two models that have met")
    wins, votes = _half_wins(cells)
    i, j = np.nonzero(np.triu(votes))
    n, s = votes[i, j], wins[i, j]  # per unordered pair: votes, and points of i
    taken = np.maximum(votes.sum(axis=1), 1.0)
    theta = np.zeros(m) if start is None else np.asarray(start, dtype=np.float64) - np.mean(start)

    for iteration in range(_MOST_ITERATIONS + 1):
        p = _sigmoid(theta[i] - theta[j])
        gradient = _spread(i, j, s - n * p, m)
        if np.max(np.abs(gradient) / taken) <= _TOLERANCE:
            break
        if iteration == _MOST_ITERATIONS:
            raise InvalidRequest("the ratings run away: some models never lost, or never met the others")
        inverse = _pseudo_inverse(_laplacian(i, j, n * p * (1 - p), m))
        theta = _ascend(theta, inverse @ gradient, gradient, i, j, n, s)

    inverse = _pseudo_inverse(_laplacian(i, j, n * p * (1 - p), m))
    meat = _laplacian(i, j, _squared_scores(cells, theta, m)[i, j], m)
    return Fit(theta, inverse @ meat @ inverse, inverse, float(np.max(np.abs(gradient))), iteration)


def _half_wins(cells: PairCells) -> tuple[Array, Array]:
    """(M, M) points of the row's model against the column's, and (M, M) votes between them (symmetric)."""
    m = len(cells.models)
    left_wins, right_wins, ties, both_bad = cells.counts.T.astype(np.float64)
    shared = (ties + both_bad) / 2
    wins = np.zeros((m, m))
    np.add.at(wins, (cells.left, cells.right), left_wins + shared)
    np.add.at(wins, (cells.right, cells.left), right_wins + shared)
    return wins, wins + wins.T


def _squared_scores(cells: PairCells, theta: Array, m: int) -> Array:
    """(M, M) symmetric: the sum over a pair's votes of (y - p) squared, y in {1, 1/2, 0}."""
    p = _sigmoid(theta[cells.left] - theta[cells.right])
    left_wins, right_wins, ties, both_bad = cells.counts.T
    squares = left_wins * (1 - p) ** 2 + right_wins * p**2 + (ties + both_bad) * (0.5 - p) ** 2
    total = np.zeros((m, m))
    np.add.at(total, (cells.left, cells.right), squares)
    return total + total.T


def _sigmoid(x: Array) -> Array:
    probability: Array = np.exp(-np.logaddexp(0, -x))
    return probability


def _spread(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64], values: Array, m: int) -> Array:
    """(M,) the sum over pairs of value * (e_i - e_j)."""
    total = np.zeros(m)
    np.add.at(total, i, values)
    np.subtract.at(total, j, values)
    return total


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
        raise InvalidRequest("the ratings run away: some models never lost, or never met the others") from error


def _ascend(
    theta: Array,
    step: Array,
    gradient: Array,
    i: npt.NDArray[np.int64],
    j: npt.NDArray[np.int64],
    n: Array,
    s: Array,
) -> Array:
    """A Newton step, halved until the log-likelihood rises enough (Armijo), or only rounding is left of it."""

    def likelihood(at: Array) -> float:
        d = at[i] - at[j]
        return float(np.sum(s * d - n * np.logaddexp(0, d)))

    here = likelihood(theta)
    slope = float(gradient @ step)
    rounding = 1e-14 * abs(here)
    size = 1.0
    while size > 1e-8 and likelihood(theta + size * step) < here + 1e-4 * size * slope - rounding:
        size /= 2
    moved = theta + size * step
    centred: Array = moved - moved.mean()
    return centred
