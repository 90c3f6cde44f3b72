"""Bradley-Terry with covariates: ratings with length, formatting or the side held equal.

log-odds(left wins) = theta_left - theta_right + z . gamma, fitted jointly by Newton on all M + F numbers. Each pass
over the votes sums gradient and curvature at once; the ratings' part of it is gathered by pair, so that a pass costs a
few operations per vote, whatever M is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.bradley_terry import Fit, fit, laplacian
from agon.ratings.cells import Array, Codes, sum_by
from agon.ratings.covariates import Covariates
from agon.ratings.votes import Votes, checked_weights

# Rows per block of a pass: what one block needs stays in the cache.
_BLOCK = 32_768
# Votes that the effects' start is found from, before all votes are read.
_SAMPLE = 50_000
# Newton's error squares with each step: after one this small nothing is left above 1e-12.
_LAST_STEP = 1e-6
_MOST_PASSES = 60


@dataclass(frozen=True, slots=True)
class StyleFit:
    """Ratings and effects. M models, F covariates."""

    fit: Fit
    """The ratings where all covariates are 0: equal style, and no side"""
    names: tuple[str, ...]
    effects: Array
    """(F,) log-odds per unit of the covariate (per standard deviation if it was normalised)"""
    covariance: Array
    """(M + F, M + F) of ratings and effects together"""
    information_inverse: Array
    """(M + F, M + F) their pseudo-inverse information"""

    @property
    def effect_errors(self) -> Array:
        """(F,) standard errors of the effects."""
        errors: Array = np.sqrt(np.maximum(np.diag(self.covariance)[len(self.fit.theta) :], 0.0))
        return errors


def fit_style(votes: Votes, covariates: Covariates, *, weights: Array | None = None, ridge: float = 0.0) -> StyleFit:
    """Fit votes whose models form one strong component, with the sandwich covariance (HC0).

    `weights` (N,) weigh votes (`1 / max(n, 50)` for uniform pairs). `ridge` adds ridge/2 |gamma|^2 to what is
    minimised, which shrinks the effects: at 0, the default, style is fully controlled for. Raises
    `InvalidRequest` where there are no finite ratings, and where covariates say the same as each other or as the
    models.
    """
    if len(covariates.values) != len(votes):
        raise InvalidRequest(f"{len(covariates.values)} rows of covariates do not fit {len(votes)} votes")
    if ridge < 0:
        raise InvalidRequest(f"a ridge is at least 0: {ridge}", param="ridge")
    m = len(votes.models)
    start = fit(votes.cells())
    if start.models != votes.models:
        raise InvalidRequest("some models have no vote: take the votes between the others first")
    rows = _Rows.of(votes, covariates, checked_weights(votes, weights))
    x = np.concatenate([start.theta, _first_effects(rows, start.theta, ridge)])
    here = rows.sums(x, ridge)
    step, decrement = here.step()
    for passes in range(1, _MOST_PASSES):
        size = 1.0
        while True:
            moved = x + size * step
            moved[:m] -= moved[:m].mean()
            last = np.max(np.abs(size * step)) <= _LAST_STEP
            there = rows.sums(moved, ridge, squares=last)
            following, decrement_there = there.step()
            if last or decrement_there < decrement or size < 1e-6:
                break
            size /= 2
        x, here, step, decrement = moved, there, following, decrement_there
        if last:
            return _finish(votes.models, covariates.names, x, here, passes)
    raise InvalidRequest("ratings with these covariates have no maximum within reach: do they tell who wins alone?")


def _finish(models: tuple[str, ...], names: tuple[str, ...], x: Array, sums: "_Sums", passes: int) -> StyleFit:
    m = len(models)
    inverse = np.linalg.inv(sums.deflated())
    inverse[:m] -= inverse[:m].mean(axis=0)
    inverse[:, :m] -= inverse[:, :m].mean(axis=1, keepdims=True)
    covariance = inverse @ sums.meat @ inverse
    ratings = Fit(models, x[:m], covariance[:m, :m], inverse[:m, :m], float(np.max(np.abs(sums.gradient))), passes)
    return StyleFit(ratings, names, x[m:], covariance, inverse)


@dataclass(frozen=True, slots=True)
class _Sums:
    """One pass: gradient (M + F,), information and meat (M + F, M + F)."""

    m: int
    gradient: Array
    information: Array
    meat: Array

    def deflated(self) -> Array:
        raised = self.information.copy()
        raised[: self.m, : self.m] += float(np.diag(raised)[: self.m].mean()) / self.m
        return raised

    def step(self) -> tuple[Array, float]:
        """The Newton step and its decrement, gradient . step: twice what there is left to gain, about."""
        try:
            np.linalg.cholesky(self.deflated())
            step: Array = np.linalg.solve(self.deflated(), self.gradient)
        except np.linalg.LinAlgError as error:
            raise InvalidRequest("some covariates say the same as others, or as the models: leave them out") from error
        return step, float(self.gradient @ step)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Votes as a pass reads them: which of P ordered pairs, points, covariates as columns, weights."""

    m: int
    left: Codes
    """(P,)"""
    right: Codes
    """(P,)"""
    pair: Codes
    """(N,) intp"""
    points: Array
    """(N,)"""
    z: Array
    """(F, N), each covariate in one piece"""
    weights: Array | None

    @classmethod
    def of(cls, votes: Votes, covariates: Covariates, weights: Array | None) -> "_Rows":
        m = len(votes.models)
        flat = votes.left.astype(np.intp) * m + votes.right
        seen = np.flatnonzero(np.bincount(flat, minlength=m * m))
        new = np.zeros(m * m, dtype=np.intp)
        new[seen] = np.arange(len(seen))
        z = np.ascontiguousarray(covariates.values.T)
        return cls(m, seen // m, seen % m, new[flat], votes.points, z, weights)

    def every(self, stride: int) -> "_Rows":
        weights = None if self.weights is None else self.weights[::stride]
        z = np.ascontiguousarray(self.z[:, ::stride])
        pair, points = self.pair[::stride].copy(), self.points[::stride].copy()
        return _Rows(self.m, self.left, self.right, pair, points, z, weights)

    def _blocks(self) -> Iterator[slice]:
        size = max(_BLOCK, 2 * len(self.left))
        for at in range(0, len(self.pair), size):
            yield slice(at, at + size)

    def sums(self, x: Array, ridge: float, *, squares: bool = False) -> _Sums:
        """Gradient and information at x; with `squares` the meat too."""
        f, pairs = len(self.z), len(self.left)
        between = x[self.left] - x[self.right]
        effects = x[self.m :]
        kinds = 2 if squares else 1
        residuals, slopes = np.zeros(pairs), np.zeros(f)
        weight = np.zeros((kinds, pairs))
        cross = np.zeros((kinds, f, pairs))
        inner = np.zeros((kinds, f, f))
        for rows in self._blocks():
            pair, z = self.pair[rows], self.z[:, rows]
            p = effects @ z
            p += between[pair]
            np.clip(p, -700.0, 700.0, out=p)
            np.negative(p, out=p)
            np.exp(p, out=p)
            p += 1
            np.reciprocal(p, out=p)
            residual = self.points[rows] - p
            curve = p * (1 - p)
            if self.weights is not None:
                residual *= self.weights[rows]
                curve *= self.weights[rows]
            residuals += sum_by(pair, residual, pairs)
            slopes += z @ residual
            for kind, w in enumerate((curve, residual**2) if squares else (curve,)):
                weight[kind] += sum_by(pair, w, pairs)
                weighted = z * w
                for k in range(f):
                    cross[kind, k] += sum_by(pair, weighted[k], pairs)
                inner[kind] += weighted @ z.T
        gradient = np.concatenate([self._by_model(residuals), slopes - ridge * effects])
        information = self._joined(weight[0], cross[0], inner[0] + ridge * np.eye(f))
        meat = self._joined(weight[1], cross[1], inner[1]) if squares else np.zeros((0, 0))
        return _Sums(self.m, gradient, information, meat)

    def _by_model(self, of_pairs: Array) -> Array:
        return sum_by(self.left, of_pairs, self.m) - sum_by(self.right, of_pairs, self.m)

    def _joined(self, weight: Array, cross: Array, inner: Array) -> Array:
        m, f = self.m, len(inner)
        total = np.zeros((m + f, m + f))
        ordered = np.zeros((m, m))
        ordered[self.left, self.right] = weight
        total[:m, :m] = laplacian(ordered + ordered.T)
        for k in range(f):
            total[:m, m + k] = total[m + k, :m] = self._by_model(cross[k])
        total[m:, m:] = inner
        return total


def _first_effects(rows: _Rows, theta: Array, ridge: float) -> Array:
    """Effects with the ratings held, from a sample of the votes: a start that saves a pass or two over all."""
    f = len(rows.z)
    sample = rows.every(max(1, len(rows.pair) // _SAMPLE))
    x = np.concatenate([theta, np.zeros(f)])
    for _ in range(3):
        sums = sample.sums(x, ridge)
        information = sums.information[sums.m :, sums.m :]
        x[sums.m :] += np.linalg.lstsq(information, sums.gradient[sums.m :], rcond=None)[0]
    return x[sums.m :]
