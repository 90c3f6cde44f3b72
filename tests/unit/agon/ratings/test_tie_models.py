"""Rao-Kupper, Davidson and the grounded model, against their formulas written down plainly."""

import numpy as np
import pytest
from scipy.optimize import minimize

from agon.errors import InvalidRequest
from agon.ratings import TIE_MODELS, PairCells, PairSums, fit, fit_ties, rank_models, tie_probabilities
from support.real_votes import chatbot_arena


def probabilities(model: str, a: float, b: float, x: float) -> tuple[float, float, float, float]:
    """P(a wins), P(b wins), P(tie), P(both bad), from the papers' formulas."""
    pa, pb, t = np.exp(a), np.exp(b), np.exp(x)
    if model == "rao_kupper":
        win, lose = pa / (pa + t * pb), pb / (pb + t * pa)
        return win, lose, (t**2 - 1) * pa * pb / ((pa + t * pb) * (pb + t * pa)), 0.0
    if model == "davidson":
        total = pa + pb + t * np.sqrt(pa * pb)
        return pa / total, pb / total, t * np.sqrt(pa * pb) / total, 0.0
    win, lose, bad = pa / (pa + t * pb + 1), pb / (pb + t * pa + 1), 1 / (1 + pa + pb)
    return win, lose, 1 - win - lose - bad, bad


def some_cells(seed: int, m: int = 5) -> PairCells:
    rng = np.random.default_rng(seed)
    print("seed", seed)
    names = [f"m{i}" for i in range(m)]
    return PairCells.of((names[i], names[j], rng.integers(1, 40, 4)) for i in range(m) for j in range(m) if i != j)


@pytest.mark.parametrize("model", TIE_MODELS)
def test_probabilities_are_those_of_the_formulas_and_sum_to_one(model: str) -> None:
    found = fit_ties(PairSums.of(some_cells(1)), model)
    win, tie, bad = tie_probabilities(found, model)
    for i in range(5):
        for j in range(5):
            wanted = probabilities(model, found.theta[i], found.theta[j], found.parameter)
            assert (win[i, j], win[j, i], tie[i, j], bad[i, j]) == pytest.approx(wanted, abs=1e-12)
            assert sum(wanted) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("model", TIE_MODELS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scipy_finds_the_same_maximum_and_the_errors_are_the_sandwich(model: str, seed: int) -> None:
    cells = some_cells(seed)
    centred = model != "grounded"
    i, j = np.repeat(cells.left, 4), np.repeat(cells.right, 4)
    column = np.tile([0, 1, 2, 2 if centred else 3], len(cells.left))
    n = cells.counts.ravel()

    def log_p(x: np.ndarray) -> np.ndarray:
        theta = np.append(x[:4], -x[:4].sum()) if centred else x[:5]
        of_each = np.array(np.broadcast_arrays(*probabilities(model, theta[i], theta[j], x[-1])))
        return np.log(of_each[column, np.arange(len(n))])

    def loss(x: np.ndarray) -> float:
        return -float(n @ log_p(x))

    start = np.append(np.zeros(4 if centred else 5), 0.5)
    found = minimize(loss, start, method="BFGS", options={"gtol": 1e-5})
    ours = fit_ties(PairSums.of(cells), model)
    assert np.append(ours.theta[:4] if centred else ours.theta, ours.parameter) == pytest.approx(found.x, abs=2e-6)
    assert ours.gradient < 1e-6

    at, h = found.x, 1e-4
    unit = np.eye(len(at)) * h

    def bend(a: np.ndarray, b: np.ndarray) -> float:
        return (loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b)) / (4 * h * h)

    bread = np.array([[bend(a, b) for b in unit] for a in unit])
    scores = np.array([(log_p(at + a) - log_p(at - a)) / (2 * h) for a in unit])
    meat = (scores * n) @ scores.T
    covariance = np.linalg.inv(bread) @ meat @ np.linalg.inv(bread)
    assert ours.covariance[:4, :4] == pytest.approx(covariance[:4, :4], rel=1e-3, abs=1e-6)
    assert ours.parameter_error == pytest.approx(np.sqrt(covariance[-1, -1]), rel=1e-4)


def test_two_models_rao_kupper_has_a_closed_form() -> None:
    """theta_i - theta_j = (logit(P(i does not lose)) + logit(P(i wins))) / 2, eta half their distance."""
    found = fit_ties(PairSums.of(PairCells.of([("x", "y", (50, 20, 30, 0))])), "rao_kupper")
    upper, lower = np.log(0.8 / 0.2), np.log(0.5 / 0.5)
    assert found.theta[0] - found.theta[1] == pytest.approx((upper + lower) / 2, abs=1e-10)
    assert found.parameter == pytest.approx((upper - lower) / 2, abs=1e-10)


def test_two_models_davidson_has_a_closed_form() -> None:
    found = fit_ties(PairSums.of(PairCells.of([("x", "y", (50, 20, 10, 20))])), "davidson")
    assert found.theta[0] - found.theta[1] == pytest.approx(np.log(50 / 20), abs=1e-10)
    assert found.parameter == pytest.approx(np.log(30 / np.sqrt(50 * 20)), abs=1e-10)


@pytest.mark.parametrize(("model", "end"), [("rao_kupper", 0.0), ("davidson", -np.inf)])
def test_without_ties_it_is_bradley_terry(model: str, end: float) -> None:
    cells = PairCells.of([("x", "y", (5, 2, 0, 0)), ("y", "z", (3, 3, 0, 0)), ("z", "x", (1, 2, 0, 0))])
    found = fit_ties(PairSums.of(cells), model)
    assert found.theta == pytest.approx(fit(cells).theta, abs=1e-12)
    assert found.parameter == end
    with pytest.raises(InvalidRequest, match="without ties"):
        tie_probabilities(found, model)


def test_the_grounded_model_needs_both_kinds_of_undecided_votes() -> None:
    with pytest.raises(InvalidRequest, match="both bad"):
        fit_ties(PairSums.of(PairCells.of([("x", "y", (5, 2, 3, 0))])), "grounded")


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="none of bradley_terry, rao_kupper"):
        rank_models(PairCells.of([("x", "y", (5, 2, 3, 0))]), method="thurstone")


def test_both_bad_may_stay_apart() -> None:
    cells = PairCells.of([("x", "y", (30, 10, 0, 40))])
    together, apart = (rank_models(cells, both_bad=way).rows for way in ("tie", "apart"))
    assert apart[0].rating - apart[1].rating == pytest.approx(400 / np.log(10) * np.log(3))
    assert together[0].rating < apart[0].rating
    assert (together[0].votes, apart[0].votes) == (80, 40)


@pytest.mark.parametrize("model", TIE_MODELS)
def test_real_votes_reach_the_maximum_and_foretell_how_often_they_tie(model: str) -> None:
    sums = PairSums.of(chatbot_arena())
    found = fit_ties(sums, model)
    assert found.gradient < 1e-5
    _, tie, bad = tie_probabilities(found, model)
    expected = np.triu(sums.totals * (tie + bad), 1).sum() / np.triu(sums.totals, 1).sum()
    seen = np.triu(sums.ties + sums.both_bad, 1).sum() / np.triu(sums.totals, 1).sum()
    assert expected == pytest.approx(seen, abs=0.002)
    if model == "grounded":
        assert np.corrcoef(found.theta, fit(sums).theta)[0, 1] > 0.9
        assert found.theta.mean() != pytest.approx(0, abs=0.1)
