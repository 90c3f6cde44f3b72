"""Covariances that stay right when votes come in clusters: one voter's habits, one prompt's quirks.

A vote's score is s = w (y - p)(x, z), x = e_left - e_right. The sandwich sums s s' over votes, which takes them for
independent; here the scores of a cluster are summed up first (Liang & Zeger, Biometrika 73, 1986). Two ways at once:
V(voter) + V(prompt) - V(voter and prompt) (Cameron, Gelbach & Miller, JBES 29, 2011).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.bradley_terry import Fit, laplacian
from agon.ratings.cells import Array, Codes, sum_by
from agon.ratings.covariates import Covariates
from agon.ratings.style import StyleFit
from agon.ratings.votes import Votes, checked_weights

Correction = Literal["CR1", "CR3"]

# Numbers in one block of cluster scores.
_BLOCK = 4_000_000
# Rounds in which the leave-one-out scores of most clusters settle, to this share of themselves.
_ROUNDS = 12
_SETTLED = 1e-10
# A jackknife that multiplies a score by more than this is a division by nothing.
_MOST_LEVERAGE = 1e6


def clustered(
    fitted: Fit, votes: Votes, *ways: Codes, correction: Correction = "CR3", weights: Array | None = None
) -> Fit:
    """A Bradley-Terry fit with the covariance clustered by one or two codes (N,), such as voter and prompt.

    `votes` are those that were fitted, between exactly the fit's models, with their `weights` (N,) if they had any.
    CR3 sums what leaving each cluster out would change (a jackknife in one step, Bell & McCaffrey 2002); CR1 multiplies
    the plain sum by G/(G-1) and is faster. Both get G - 1 degrees of freedom, G the smaller number of clusters. Raises
    `InvalidRequest` for fewer than two clusters, and votes that are not the fit's.
    """
    scores = _Scores.of(fitted.theta, votes, fitted.models, None, weights)
    covariance, degrees = _covariance(scores, fitted.information_inverse, ways, correction)
    return replace(fitted, covariance=covariance, degrees=degrees)


def clustered_style(
    fitted: StyleFit,
    votes: Votes,
    covariates: Covariates,
    *ways: Codes,
    correction: Correction = "CR3",
    weights: Array | None = None,
) -> StyleFit:
    """The same for a fit with covariates: ratings and effects."""
    x = np.concatenate([fitted.fit.theta, fitted.effects])
    scores = _Scores.of(x, votes, fitted.fit.models, covariates, weights)
    covariance, degrees = _covariance(scores, fitted.information_inverse, ways, correction)
    m = len(fitted.fit.theta)
    return replace(
        fitted,
        fit=replace(fitted.fit, covariance=covariance[:m, :m], degrees=degrees),
        covariance=covariance,
    )


def _covariance(
    scores: "_Scores", inverse: Array, ways: tuple[Codes, ...], correction: Correction
) -> tuple[Array, float]:
    if len(ways) not in (1, 2):
        raise InvalidRequest("cluster by one or by two codes")
    parts = [_one_way(scores, inverse, way, correction) for way in ways]
    if len(ways) == 1:
        return parts[0]
    both = ways[0].astype(np.int64) * (int(ways[1].max()) + 1) + ways[1]
    covariance = parts[0][0] + parts[1][0] - _one_way(scores, inverse, both, correction)[0]
    # The difference may have negative directions in small samples: they are cut off.
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    covariance = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return covariance, min(degrees for _, degrees in parts)


def _one_way(scores: "_Scores", inverse: Array, way: Codes, correction: Correction) -> tuple[Array, float]:
    if len(way) != len(scores.left):
        raise InvalidRequest(f"{len(way)} cluster codes do not fit {len(scores.left)} votes")
    _, cluster = np.unique(way, return_inverse=True)
    g = int(cluster.max(initial=-1)) + 1
    if g < 2:
        raise InvalidRequest("clustering needs at least two clusters")
    meat = np.zeros_like(inverse)
    for members in _blocks(scores, cluster, g):
        if correction == "CR3":
            summed = _leave_one_out(scores, members, inverse)
        else:
            summed = _sum_up(scores, members, scores.residual[members.rows])
        meat += summed.T @ summed
    meat *= (g - 1) / g if correction == "CR3" else g / (g - 1)
    return inverse @ meat @ inverse, g - 1.0


@dataclass(frozen=True, slots=True)
class _Members:
    """Votes of whole clusters, sorted by cluster: rows, their cluster from 0, and where each cluster starts."""

    rows: Codes
    cluster: Codes
    bounds: Codes
    """(clusters + 1,)"""


@dataclass(frozen=True, slots=True)
class _Scores:
    """(N,) each: models, weighted residual w (y - p), curvature w p (1 - p); covariates (N, F) or none."""

    m: int
    left: Codes
    right: Codes
    residual: Array
    curve: Array
    z: Array
    """(N, F)"""

    @classmethod
    def of(
        cls, x: Array, votes: Votes, models: tuple[str, ...], covariates: Covariates | None, weights: Array | None
    ) -> "_Scores":
        if votes.models != models:
            raise InvalidRequest("the votes are not between the fit's models: take `votes.between(fit.models)`")
        m = len(models)
        z = np.zeros((len(votes), 0)) if covariates is None else covariates.values
        d = x[votes.left] - x[votes.right] + z @ x[m:]
        p = 1 / (1 + np.exp(-np.clip(d, -700.0, 700.0)))
        weights = checked_weights(votes, weights)
        w = 1.0 if weights is None else weights
        return cls(m, votes.left, votes.right, w * (votes.points - p), w * p * (1 - p), z)


def _blocks(scores: _Scores, cluster: Codes, g: int) -> Iterator[_Members]:
    """All votes in blocks of whole clusters, each block's sums small enough to hold."""
    order = np.argsort(cluster, kind="stable")
    ends = np.cumsum(np.bincount(cluster, minlength=g))
    starts = np.concatenate([[0], ends])
    per_block = max(1, _BLOCK // (scores.m + scores.z.shape[1]))
    for first in range(0, g, per_block):
        last = min(first + per_block, g)
        rows = order[starts[first] : starts[last]]
        yield _Members(rows, cluster[rows] - first, starts[first : last + 1] - starts[first])


def _sum_up(scores: _Scores, members: _Members, residual: Array) -> Array:
    """(clusters, M + F) the sum over each cluster of residual (n,) times (e_left - e_right, z)."""
    rows, cluster, m = members.rows, members.cluster, scores.m
    n = len(members.bounds) - 1
    by_model = sum_by(cluster * m + scores.left[rows], residual, n * m)
    by_model -= sum_by(cluster * m + scores.right[rows], residual, n * m)
    by_covariate = [sum_by(cluster, residual * column[rows], n) for column in scores.z.T]
    return np.column_stack([by_model.reshape(n, m), *by_covariate])


def _leave_one_out(scores: _Scores, members: _Members, inverse: Array) -> Array:
    """(clusters, M + F) scores a' for which H+ a' is what the ratings lose with the cluster, in one Newton step.

    a' = (1 - H_g H+)^-1 a. A cluster knows little of all that is known, so a' = a + H_g H+ a' settles after a few
    rounds for all clusters at once; those that know much are solved one by one.
    """
    rows, cluster, m = members.rows, members.cluster, scores.m
    left, right, curve = scores.left[rows], scores.right[rows], scores.curve[rows]
    plain = _sum_up(scores, members, scores.residual[rows])
    adjusted = plain
    for _ in range(_ROUNDS):
        moved = adjusted @ inverse
        along = moved[cluster, left] - moved[cluster, right]
        for k, column in enumerate(scores.z.T, start=m):
            along += moved[cluster, k] * column[rows]
        following = plain + _sum_up(scores, members, curve * along)
        open_ = np.abs(following - adjusted).max(axis=1) > _SETTLED * np.abs(following).max(axis=1)
        adjusted = following
        if not open_.any():
            break
    for g in np.flatnonzero(open_):
        adjusted[g] = _alone(scores, members.rows[members.bounds[g] : members.bounds[g + 1]], plain[g], inverse)
    return adjusted


def _alone(scores: _Scores, rows: Codes, plain: Array, inverse: Array) -> Array:
    """(M + F,) the same for one cluster, solved on the models and covariates that it touches.

    A cluster that alone holds the graph together (1 - H_g H+ is singular) keeps its plain score.
    """
    touched, at = np.unique(np.concatenate([scores.left[rows], scores.right[rows]]), return_inverse=True)
    where = np.concatenate([touched, np.arange(scores.m, len(plain))])
    information = _information(scores, rows, at[: len(rows)], at[len(rows) :], len(touched))
    leverage = information @ inverse[np.ix_(where, where)]
    adjusted = plain.copy()
    try:
        adjusted[where] = np.linalg.solve(np.eye(len(where)) - leverage, plain[where])
    except np.linalg.LinAlgError:
        return plain
    return adjusted if np.abs(adjusted).max() < _MOST_LEVERAGE * np.abs(plain).max() else plain


def _information(scores: _Scores, rows: Codes, left: Codes, right: Codes, k: int) -> Array:
    """(k + F, k + F) of some votes between k models, numbered from 0."""
    curve, z = scores.curve[rows], scores.z[rows]
    pairs = sum_by(left * k + right, curve, k * k).reshape(k, k)
    total = np.zeros((k + z.shape[1], k + z.shape[1]))
    total[:k, :k] = laplacian(pairs + pairs.T)
    weighted = z * curve[:, None]
    for column, values in enumerate(weighted.T, start=k):
        total[:k, column] = sum_by(left, values, k) - sum_by(right, values, k)
    total[k:, :k] = total[:k, k:].T
    total[k:, k:] = z.T @ weighted
    return total
