"""Models with a probability of their own for ties: Rao-Kupper, Davidson, and the grounded one with both bad.

With pi = exp(theta), for models i and j:

- Rao-Kupper (JASA 62, 1967): P(i wins) = pi_i / (pi_i + t pi_j), t = exp(eta) >= 1, and a tie is the rest.
- Davidson (JASA 65, 1970): P(i wins) = pi_i / (pi_i + pi_j + nu sqrt(pi_i pi_j)), P(tie) = nu sqrt(pi_i pi_j) / (same).
- Grounded Rao-Kupper (Prompt-to-Leaderboard, arXiv 2502.14855): P(i wins) = pi_i / (pi_i + t pi_j + 1),
  P(both bad) = 1 / (1 + pi_i + pi_j), and a tie is the rest. Here theta has a zero: answers that are as often bad.

Every log-probability is a sum of linear terms and log-sum-exps, so that gradient and Hessian are exact and nothing is
lost where probabilities are tiny.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.bradley_terry import Fit, maximise
from agon.ratings.cells import Array
from agon.ratings.sums import PairSums

TieModel = Literal["rao_kupper", "davidson", "grounded"]

_MOST_ITERATIONS = 100
_SMALL_STEP = 1e-10


@dataclass(frozen=True, slots=True)
class _Event:
    """log P of an outcome for every ordered pair: value (M, M), and derivatives by (theta_i, theta_j, parameter)."""

    value: Array
    slope: Array
    """(3, M, M)"""
    curve: Array
    """(3, 3, M, M)"""

    def __add__(self, other: "_Event") -> "_Event":
        return _Event(self.value + other.value, self.slope + other.slope, self.curve + other.curve)

    def __sub__(self, other: "_Event") -> "_Event":
        return _Event(self.value - other.value, self.slope - other.slope, self.curve - other.curve)

    def swapped(self) -> "_Event":
        """The same event seen from j: i and j change places."""
        order = [1, 0, 2]
        return _Event(
            self.value.T,
            self.slope[order].transpose(0, 2, 1),
            self.curve[np.ix_(order, order)].transpose(0, 1, 3, 2),
        )


Terms = tuple[tuple[float, float, float], ...]
"""Coefficients of (theta_i, theta_j, parameter), one triple for each alternative"""


def _log_sum_exp(theta: Array, parameter: float, terms: Terms, constants: tuple[float, ...] | None = None) -> _Event:
    a = np.array(terms)
    constant = np.zeros(len(terms)) if constants is None else np.array(constants)
    u = (
        a[:, 0, None, None] * theta[None, :, None]
        + a[:, 1, None, None] * theta[None, None, :]
        + (a[:, 2] * parameter + constant)[:, None, None]
    )
    highest = u.max(axis=0)
    share = np.exp(u - highest)
    total = share.sum(axis=0)
    share /= total
    slope = np.tensordot(a.T, share, axes=1)
    products = np.einsum("kp,kq->pqk", a, a)
    curve = np.tensordot(products, share, axes=1) - slope[:, None] * slope[None, :]
    return _Event(highest + np.log(total), slope, curve)


def _linear(theta: Array, parameter: float, coefficients: tuple[float, float, float]) -> _Event:
    return _log_sum_exp(theta, parameter, (coefficients,))


def _of_parameter(m: int, value: float, slope: float, curve: float) -> _Event:
    slopes, curves = np.zeros((3, m, m)), np.zeros((3, 3, m, m))
    slopes[2], curves[2, 2] = slope, curve
    return _Event(np.full((m, m), value), slopes, curves)


def _rao_kupper(theta: Array, eta: float) -> tuple[_Event, _Event, None]:
    win = _linear(theta, eta, (1, 0, 0)) - _log_sum_exp(theta, eta, ((1, 0, 0), (0, 1, 1)))
    # log(e^{2 eta} - 1)
    inverse = 1 / -np.expm1(-2 * eta)
    value = 2 * eta + float(np.log(-np.expm1(-2 * eta)))
    room = _of_parameter(len(theta), value, 2 * inverse, 4 * inverse * (1 - inverse))
    return win, win + win.swapped() + room, None


def _davidson(theta: Array, log_nu: float) -> tuple[_Event, _Event, None]:
    total = _log_sum_exp(theta, log_nu, ((1, 0, 0), (0, 1, 0), (0.5, 0.5, 1)))
    return (
        _linear(theta, log_nu, (1, 0, 0)) - total,
        _linear(theta, log_nu, (0.5, 0.5, 1)) - total,
        None,
    )


def _grounded(theta: Array, eta: float) -> tuple[_Event, _Event, _Event]:
    """The rest, a tie, is (t - 1) pi_i pi_j (2 + (1 + t)(pi_i + pi_j)) / [(1 + pi_i + pi_j) A_ij A_ji] with
    A_ij = pi_i + t pi_j + 1."""
    against = _log_sum_exp(theta, eta, ((1, 0, 0), (0, 1, 1), (0, 0, 0)))
    win = _linear(theta, eta, (1, 0, 0)) - against
    good = _log_sum_exp(theta, eta, ((0, 0, 0), (1, 0, 0), (0, 1, 0)))
    both = _log_sum_exp(
        theta, eta, ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 1, 1)), (float(np.log(2)), 0, 0, 0, 0)
    )
    inverse = 1 / -np.expm1(-eta)
    room = _of_parameter(len(theta), eta + float(np.log(-np.expm1(-eta))), inverse, inverse * (1 - inverse))
    tie = room + _linear(theta, eta, (1, 1, 0)) + both - good - against - against.swapped()
    return win, tie, _linear(theta, eta, (0, 0, 0)) - good


_EVENTS: dict[str, Callable[[Array, float], tuple[_Event, _Event, _Event | None]]] = {
    "rao_kupper": _rao_kupper,
    "davidson": _davidson,
    "grounded": _grounded,
}
TIE_MODELS = tuple(_EVENTS)


def tie_probabilities(fitted: Fit, model: TieModel) -> tuple[Array, Array, Array]:
    """(M, M) each: P(row wins), P(tie), P(both bad) between each two models of a fit of this `model`."""
    assert fitted.parameter is not None
    if not np.isfinite(fitted.parameter) or (model == "rao_kupper" and fitted.parameter == 0):
        raise InvalidRequest("a fit without ties has no probability of them")
    win, tie, bad = _EVENTS[model](fitted.theta, fitted.parameter)
    return np.exp(win.value), np.exp(tie.value), np.zeros_like(win.value) if bad is None else np.exp(bad.value)


def fit_ties(sums: PairSums, model: TieModel) -> Fit:
    """Fit one strong component of at least two models with a model of ties.

    Rao-Kupper and Davidson take both bad as ties (make `sums.both_bad_apart()` to leave them out). The covariance is
    the sandwich with the parameter estimated too. Without ties their parameter stands at its end (eta 0, log nu minus
    infinity) and the rest is Bradley-Terry. Raises `InvalidRequest` if the maximum can't be reached: the grounded
    model needs both ties and votes that found both bad.
    """
    if model not in TIE_MODELS:
        raise InvalidRequest(f"method {model!r} is none of bradley_terry, {', '.join(TIE_MODELS)}", param="method")
    if model != "grounded":
        sums = sums.both_bad_as_ties()
        if not sums.ties.any():
            plain = maximise(sums)
            end = 0.0 if model == "rao_kupper" else -np.inf
            return replace(plain, parameter=end, parameter_error=0.0)
    elif not (sums.ties.any() and sums.both_bad.any()):
        raise InvalidRequest("the grounded model needs some ties and some votes that found both bad")
    m = len(sums.models)
    events = _EVENTS[model]
    weights = (sums.wins, sums.ties / 2, sums.both_bad / 2)
    x = np.append(maximise(sums).theta, 0.0 if model == "davidson" else 0.5)
    iterations = 0
    while True:
        found = events(x[:m], float(x[m]))
        value, gradient, information = _sum(found, weights, centred=model != "grounded")
        step = _uphill(information, gradient)
        if np.max(np.abs(step)) <= _SMALL_STEP:
            break
        if iterations == _MOST_ITERATIONS:
            raise InvalidRequest(f"the {model} model has no maximum within reach of these votes")
        x = _ascend(model, weights, x, step, value, float(gradient @ step))
        if model != "grounded":
            x[:m] -= x[:m].mean()
        iterations += 1
    inverse = np.linalg.inv(information)
    if model != "grounded":
        inverse[:m] -= inverse[:m].mean(axis=0)
        inverse[:, :m] -= inverse[:, :m].mean(axis=1, keepdims=True)
    squared = (sums.wins_squared, sums.ties_squared / 2, sums.both_bad_squared / 2)
    covariance = inverse @ _meat(found, squared) @ inverse
    return Fit(
        sums.models,
        x[:m],
        covariance[:m, :m],
        inverse[:m, :m],
        float(np.max(np.abs(gradient))),
        iterations,
        parameter=float(x[m]),
        parameter_error=float(np.sqrt(covariance[m, m])),
    )


Weights = tuple[Array, Array, Array]
"""of wins, ties and both bad; the symmetric ones halved, because every pair comes in both orders"""


def _sum(found: tuple[_Event, _Event, _Event | None], weights: Weights, centred: bool) -> tuple[float, Array, Array]:
    """Log-likelihood, gradient (M + 1,) and information (M + 1, M + 1), deflated if the ratings may all shift."""
    m = len(weights[0])
    value, gradient, information = 0.0, np.zeros(m + 1), np.zeros((m + 1, m + 1))
    for event, weight in zip(found, weights, strict=True):
        if event is None:
            continue
        value += float(np.sum(weight * event.value))
        slope = weight * event.slope
        gradient[:m] += slope[0].sum(axis=1) + slope[1].sum(axis=0)
        gradient[m] += slope[2].sum()
        information -= _assembled(weight * event.curve)
    if centred:
        # A curvature, of the size of the others, for the direction in which all ratings shift.
        information[:m, :m] += float(np.diag(information)[:m].mean()) / m
    return value, gradient, information


def _meat(found: tuple[_Event, _Event, _Event | None], squared: Weights) -> Array:
    """(M + 1, M + 1) the sum over votes of weight squared times score score'."""
    m = len(squared[0])
    meat = np.zeros((m + 1, m + 1))
    for event, weight in zip(found, squared, strict=True):
        if event is not None:
            meat += _assembled(weight * event.slope[:, None] * event.slope[None, :])
    return meat


def _assembled(forms: Array) -> Array:
    """Sum quadratic forms in (theta_i, theta_j, parameter), (3, 3, M, M), into one in all of them."""
    m = forms.shape[-1]
    total = np.zeros((m + 1, m + 1))
    total[:m, :m] = forms[0, 1] + forms[0, 1].T
    total[np.arange(m), np.arange(m)] += forms[0, 0].sum(axis=1) + forms[1, 1].sum(axis=0)
    total[:m, m] = total[m, :m] = forms[0, 2].sum(axis=1) + forms[1, 2].sum(axis=0)
    total[m, m] = forms[2, 2].sum()
    return total


def _uphill(information: Array, gradient: Array) -> Array:
    """The Newton step, bent towards the gradient where the likelihood is not concave."""
    ridge = 0.0
    size = float(np.abs(np.diag(information)).mean())
    for _ in range(60):
        raised = information + ridge * np.eye(len(information))
        try:
            np.linalg.cholesky(raised)
        except np.linalg.LinAlgError:
            ridge = max(10 * ridge, 1e-6 * size)
            continue
        step: Array = np.linalg.solve(raised, gradient)
        return step
    raise InvalidRequest("the ratings are too far apart for floating point")


def _ascend(model: TieModel, weights: Weights, x: Array, step: Array, here: float, slope: float) -> Array:
    """A step, halved until it stays inside the parameter's range and the log-likelihood rises enough (Armijo)."""
    m = len(x) - 1
    least = here - 1e-14 * abs(here)
    size = 1.0
    while True:
        moved = x + size * step
        inside = model == "davidson" or moved[m] > 0
        if inside:
            found = _EVENTS[model](moved[:m], float(moved[m]))
            value = sum(float(np.sum(w * e.value)) for e, w in zip(found, weights, strict=True) if e is not None)
            if value >= least + 1e-4 * size * slope:
                return moved
        if size <= 1e-8:
            return moved if inside else x
        size /= 2
