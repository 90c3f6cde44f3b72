"""The maximum, its covariance, and when there is none."""

import numpy as np
import pytest

from agon.errors import InvalidRequest
from agon.ratings import PairCells, fit


def votes_between(theta: np.ndarray, n: int, rng: np.random.Generator, ties: float = 0.2) -> PairCells:
    """n votes on random pairs of models with these strengths; a tie has the probability `ties`, whatever the pair."""
    m = len(theta)
    left = rng.integers(0, m, n)
    right = (left + rng.integers(1, m, n)) % m
    won = rng.random(n) < 1 / (1 + np.exp(theta[right] - theta[left]))
    outcome = np.where(rng.random(n) < ties, "tie", np.where(won, "a", "b"))
    return PairCells.count((f"m{i:03}", f"m{j:03}", str(o)) for i, j, o in zip(left, right, outcome, strict=True))


def log_likelihood(cells: PairCells, theta: np.ndarray) -> float:
    """Written down plainly, vote kind by vote kind."""
    total = 0.0
    for left, right, (a, b, tie, bad) in zip(cells.left, cells.right, cells.counts, strict=True):
        p = 1 / (1 + np.exp(theta[right] - theta[left]))
        total += a * np.log(p) + b * np.log(1 - p) + (tie + bad) * (np.log(p) + np.log(1 - p)) / 2
    return total


def test_two_models_differ_by_the_log_of_their_odds() -> None:
    cells = PairCells.of([("x", "y", (3, 1, 0, 0))])
    theta = fit(cells).theta
    assert theta[0] - theta[1] == pytest.approx(np.log(3), abs=1e-12)
    assert theta.sum() == pytest.approx(0, abs=1e-12)


def test_two_models_have_the_textbook_error() -> None:
    """Var(log odds) = 1 / (n p (1 - p)); with wins and losses only the sandwich is the same."""
    cells = PairCells.of([("x", "y", (30, 10, 0, 0))])
    assert fit(cells).difference_error(0, 1) == pytest.approx(np.sqrt(1 / (40 * 0.75 * 0.25)), rel=1e-9)


@pytest.mark.parametrize("column", [2, 3])
def test_a_tie_is_half_a_win_for_each_side(column: int) -> None:
    ties = [0, 0, 0, 0]
    ties[column] = 2
    tied = fit(PairCells.of([("x", "y", (4, 1, *ties[2:]))]))
    halves = fit(PairCells.of([("x", "y", (5, 2, 0, 0))]))
    assert tied.theta == pytest.approx(halves.theta, abs=1e-12)


def test_left_and_right_do_not_matter_to_the_fit() -> None:
    one_way = fit(PairCells.of([("x", "y", (5, 2, 1, 0)), ("y", "z", (3, 3, 0, 1)), ("z", "x", (1, 2, 0, 0))]))
    other = fit(PairCells.of([("y", "x", (2, 5, 1, 0)), ("z", "y", (3, 3, 0, 1)), ("x", "z", (2, 1, 0, 0))]))
    assert one_way.theta == pytest.approx(other.theta, abs=1e-12)


def test_a_ring_without_a_best_model_is_level() -> None:
    ring = fit(PairCells.of([("x", "y", (2, 1, 0, 0)), ("y", "z", (2, 1, 0, 0)), ("z", "x", (2, 1, 0, 0))]))
    assert ring.theta == pytest.approx([0, 0, 0], abs=1e-12)


def test_the_fit_stands_where_the_likelihood_is_flat_and_highest() -> None:
    rng = np.random.default_rng(7)
    cells = votes_between(rng.normal(0, 1, 12), 3000, rng)
    found = fit(cells)
    assert found.gradient < 1e-9
    h = 1e-5
    here = log_likelihood(cells, found.theta)
    for i in range(12):
        step = np.zeros(12)
        step[i] = h
        up, down = (log_likelihood(cells, found.theta + s * step) for s in (1, -1))
        assert (up - down) / (2 * h) == pytest.approx(0, abs=1e-4)
        assert max(up, down) < here


def test_the_covariance_is_the_sandwich_written_out_vote_by_vote() -> None:
    rng = np.random.default_rng(3)
    cells = votes_between(rng.normal(0, 1, 6), 400, rng)
    found = fit(cells)
    m = 6
    bread, meat = np.zeros((m, m)), np.zeros((m, m))
    for left, right, counts in zip(cells.left, cells.right, cells.counts, strict=True):
        x = np.zeros(m)
        x[left], x[right] = 1, -1
        p = 1 / (1 + np.exp(found.theta[right] - found.theta[left]))
        for y, n in zip((1, 0, 0.5, 0.5), counts, strict=True):
            bread += n * p * (1 - p) * np.outer(x, x)
            meat += n * (y - p) ** 2 * np.outer(x, x)
    inverse = np.linalg.pinv(bread)
    assert found.covariance == pytest.approx(inverse @ meat @ inverse, abs=1e-12)
    assert found.covariance.sum(axis=1) == pytest.approx(np.zeros(m), abs=1e-12)


def test_a_warm_start_ends_where_a_cold_one_does_and_sooner() -> None:
    rng = np.random.default_rng(11)
    cells = votes_between(rng.normal(0, 1.5, 30), 6000, rng)
    cold = fit(cells)
    again = fit(cells, cold.theta + 0.01 * rng.normal(size=30))
    assert again.theta == pytest.approx(cold.theta, abs=1e-10)
    assert again.iterations < cold.iterations


def test_a_far_start_is_damped_back() -> None:
    cells = PairCells.of([("x", "y", (3, 1, 0, 0)), ("y", "z", (2, 2, 0, 0)), ("x", "z", (5, 1, 0, 0))])
    assert fit(cells, np.array([40.0, -40.0, 0.0])).theta == pytest.approx(fit(cells).theta, abs=1e-10)


def test_very_unequal_models_are_fitted_too() -> None:
    cells = PairCells.of([("x", "y", (1_000_000, 1, 0, 0)), ("y", "z", (3, 2, 0, 0))])
    theta = fit(cells).theta
    assert theta[0] - theta[1] == pytest.approx(np.log(1e6), rel=1e-9)
    assert theta[1] - theta[2] == pytest.approx(np.log(1.5), rel=1e-9)


def test_strengths_are_found_again_and_intervals_hold_what_they_promise() -> None:
    """95 % intervals of differences should hold the truth in about 95 % of 300 worlds (7 differences each)."""
    theta = np.linspace(-1, 1, 8)
    theta -= theta.mean()
    held = []
    for world in range(300):
        cells = votes_between(theta, 1200, np.random.default_rng(world), ties=0.0)
        found = fit(cells)
        held += [
            abs((found.theta[i] - found.theta[0]) - (theta[i] - theta[0])) < 1.96 * found.difference_error(i, 0)
            for i in range(1, 8)
        ]
    assert 0.93 < np.mean(held) < 0.97


@pytest.mark.parametrize(
    "cells",
    [
        [("x", "y", (3, 0, 0, 0))],
        [("x", "y", (1, 1, 0, 0)), ("z", "w", (1, 1, 0, 0))],
        [("x", "y", (1, 1, 0, 0)), ("z", "x", (1, 0, 0, 0))],
    ],
    ids=["never lost", "never met", "hangs by one win"],
)
def test_no_maximum_is_an_error_and_not_a_number(cells: list[tuple[str, str, tuple[int, int, int, int]]]) -> None:
    with pytest.raises(InvalidRequest, match="no finite ratings"):
        fit(PairCells.of(cells))


def test_one_model_is_no_rating() -> None:
    with pytest.raises(InvalidRequest, match="no finite ratings"):
        fit(PairCells.of([]))
