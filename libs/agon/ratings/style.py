"""Bradley-Terry with covariates: ratings with length, formatting or the side held equal.

log-odds(left wins) = theta_left - theta_right + z . gamma, fitted jointly by Newton on all M + F numbers. Each pass
over the votes sums gradient and curvature at once; the ratings' part of it is gathered by pair, so that a pass costs a
few operations per vote, whatever M is.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

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
# After a step this small 1e-8 is left at most: nothing that a covariance would show. After the next, nothing at all.
_NEARLY = 1e-4
_LAST_STEP = 1e-7
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
            moved = _moved(x, size * step, m)
            # Newton's error squares with each step: then this is where the maximum is, but for what is left of it.
            near = bool(np.max(np.abs(size * step)) <= _NEARLY)
            there = rows.sums(moved, ridge, squares=near)
            following, decrement_there = there.step()
            if near or decrement_there < decrement or size < 1e-6:
                break
            size /= 2
        x, here, step, decrement = moved, there, following, decrement_there
        if near and np.max(np.abs(step)) <= _LAST_STEP:
            x = _moved(x, step, m)
            return _finish(votes.models, covariates.names, x, here, rows.gradient(x, ridge), passes + 1)
    raise InvalidRequest("ratings with these covariates have no maximum within reach: do they tell who wins alone?")


def _moved(x: Array, step: Array, m: int) -> Array:
    """A step further, the ratings' mean 0 as before."""
    moved = x + step
    moved[:m] -= moved[:m].mean()
    return moved


def _finish(
    models: tuple[str, ...], names: tuple[str, ...], x: Array, sums: "_Sums", gradient: Array, passes: int
) -> StyleFit:
    m = len(models)
    inverse = np.linalg.inv(sums.deflated())
    inverse[:m] -= inverse[:m].mean(axis=0)
    inverse[:, :m] -= inverse[:, :m].mean(axis=1, keepdims=True)
    covariance = inverse @ sums.meat @ inverse
    ratings = Fit(models, x[:m], covariance[:m, :m], inverse[:m, :m], float(np.max(np.abs(gradient))), passes)
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


class _Part(NamedTuple):
    """Sums over some of the rows, of P pairs and F covariates; K kinds of curvature."""

    residuals: Array
    """(P,)"""
    slopes: Array
    """(F,)"""
    weight: Array
    """(K, P)"""
    cross: Array
    """(K, F, P)"""
    inner: Array
    """(K, F, F)"""


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

    def _halves(self) -> list[list[slice]]:
        """Blocks of rows, for two threads. They are the same on every machine, and so are the sums."""
        size = max(_BLOCK, 2 * len(self.left))
        blocks = [slice(at, at + size) for at in range(0, len(self.pair), size)]
        half = (len(blocks) + 1) // 2
        return [blocks[:half], blocks[half:]] if half < len(blocks) else [blocks]

    def _pass(self, x: Array, kinds: int) -> "_Part":
        """All rows. `kinds` of curvature: none, the information's, and the meat's besides."""
        halves = self._halves()
        if len(halves) == 1:
            return self._part(x, kinds, halves[0])
        with ThreadPoolExecutor(len(halves)) as pool:
            first, second = pool.map(lambda blocks: self._part(x, kinds, blocks), halves)
        return _Part(*(one + other for one, other in zip(first, second, strict=True)))

    def _part(self, x: Array, kinds: int, blocks: list[slice]) -> "_Part":
        f, pairs = len(self.z), len(self.left)
        between, against = x[self.right] - x[self.left], -x[self.m :]
        part = _Part(
            np.zeros(pairs), np.zeros(f), np.zeros((kinds, pairs)), np.zeros((kinds, f, pairs)), np.zeros((kinds, f, f))
        )
        for rows in blocks:
            pair, z = self.pair[rows], self.z[:, rows]
            p = against @ z
            p += between[pair]
            with np.errstate(over="ignore"):  # 1 / (1 + inf) is 0, as it should be
                np.exp(p, out=p)
            p += 1
            np.reciprocal(p, out=p)
            residual = self.points[rows] - p
            if self.weights is not None:
                residual *= self.weights[rows]
            part.residuals[:] += sum_by(pair, residual, pairs)
            part.slopes[:] += z @ residual
            for kind in range(kinds):
                if kind == 1:
                    w = residual**2
                else:
                    w = p * (1 - p)
                    if self.weights is not None:
                        w *= self.weights[rows]
                part.weight[kind] += sum_by(pair, w, pairs)
                weighted = z * w
                for k in range(f):
                    part.cross[kind, k] += sum_by(pair, weighted[k], pairs)
                part.inner[kind] += weighted @ z.T
        return part

    def gradient(self, x: Array, ridge: float) -> Array:
        """(M + F,)"""
        return self._gradient(self._pass(x, 0), x, ridge)

    def sums(self, x: Array, ridge: float, *, squares: bool = False) -> _Sums:
        """Gradient and information at x; with `squares` the meat too."""
        part = self._pass(x, 2 if squares else 1)
        weight, cross, inner = part.weight, part.cross, part.inner
        information = self._joined(weight[0], cross[0], inner[0] + ridge * np.eye(len(self.z)))
        meat = self._joined(weight[1], cross[1], inner[1]) if squares else np.zeros((0, 0))
        return _Sums(self.m, self._gradient(part, x, ridge), information, meat)

    def _gradient(self, part: "_Part", x: Array, ridge: float) -> Array:
        return np.concatenate([self._by_model(part.residuals), part.slopes - ridge * x[self.m :]])

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
    for _ in range(2):
        sums = sample.sums(x, ridge)
        information = sums.information[sums.m :, sums.m :]
        x[sums.m :] += np.linalg.lstsq(information, sums.gradient[sums.m :], rcond=None)[0]
    return x[sums.m :]
