"""Against independent solutions, on real votes. Every known deviation of a peer is explained by its figure."""

import json
from pathlib import Path
from typing import Any

import choix
import evalica
import numpy as np
import pytest
from scipy.optimize import minimize, root

from agon.ratings import STYLE, Covariates, Fit, PairCells, PairSums, fit, fit_style, uniform_pairs, win_matrix
from agon.ratings.intervals import SCALE
from support.real_votes import chatbot_arena, llmfao, llmfao_style

REFERENCE = json.loads((Path(__file__).parents[3] / "data" / "arena_rank" / "reference.json").read_text())


def cells_of(name: str) -> PairCells:
    return chatbot_arena() if name == "chatbot_arena" else llmfao()[0].cells()


@pytest.mark.parametrize("name", ["chatbot_arena", "llmfao"])
def test_scipy_finds_the_same_maximum(name: str) -> None:
    """Newton with a trust region on another parametrisation (the first model is 0), to 1e-9 log-odds."""
    sums = PairSums.of(cells_of(name))
    i, j = np.triu_indices(len(sums.models), 1)
    won, lost = sums.points[i, j], sums.points[j, i]

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        theta = np.concatenate([[0.0], free])
        d = theta[i] - theta[j]
        value = float(np.sum(won * np.logaddexp(0, -d) + lost * np.logaddexp(0, d)))
        slope = (won + lost) / (1 + np.exp(-d)) - won
        gradient = np.bincount(i, slope, len(theta)) - np.bincount(j, slope, len(theta))
        return value, gradient[1:]

    def curvature(free: np.ndarray) -> np.ndarray:
        theta = np.concatenate([[0.0], free])
        p = 1 / (1 + np.exp(theta[j] - theta[i]))
        h = np.zeros((len(theta), len(theta)))
        w = (won + lost) * p * (1 - p)
        np.add.at(h, (i, i), w)
        np.add.at(h, (j, j), w)
        np.add.at(h, (i, j), -w)
        np.add.at(h, (j, i), -w)
        return h[1:, 1:]

    start = np.zeros(len(sums.models) - 1)
    found = minimize(loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-6})
    # Where the loss no longer falls in 16 digits, its gradient still tells.
    found = root(lambda free: loss(free)[1], found.x, jac=curvature, tol=1e-14)
    theta = np.concatenate([[0.0], found.x])
    assert fit(sums).theta == pytest.approx(theta - theta.mean(), abs=1e-9)


@pytest.mark.parametrize("name", ["chatbot_arena", "llmfao"])
def test_choix_agrees(name: str) -> None:
    """I-LSR, which stops when its weights move by less than its tolerance: 1e-6 rating points here."""
    sums = PairSums.of(cells_of(name))
    theirs = choix.ilsr_pairwise_dense(sums.points, tol=1e-12, max_iter=1000)
    assert SCALE * fit(sums).theta == pytest.approx(SCALE * (theirs - theirs.mean()), abs=1e-6)


def test_evalica_agrees_when_it_is_told_to_be_exact() -> None:
    """Its default tolerance of 1e-6 is 1e-5 rating points; with 1e-14 nothing is left."""
    votes, _, _ = llmfao()
    names = np.array(votes.models)
    winner = np.array([evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw, evalica.Winner.Draw], dtype=object)
    result = evalica.bradley_terry(
        names[votes.left].tolist(),
        names[votes.right].tolist(),
        winner[votes.outcome].tolist(),
        tolerance=1e-14,
        limit=100_000,
    )
    ours = fit(votes.cells())
    theirs = np.log(np.array([result.scores[name] for name in ours.models]))
    assert SCALE * ours.theta == pytest.approx(SCALE * (theirs - theirs.mean()), abs=1e-8)


def arena_rank(name: str, ours: Fit) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """The reference; how far it is from our ratings; its standard errors over ours."""
    told = REFERENCE[name]
    assert tuple(told["models"]) == ours.models
    theirs = np.array(told["ratings"])
    gap = theirs - theirs.mean() - SCALE * ours.theta
    return told, gap, np.sqrt(told["variances"]) / (SCALE * np.sqrt(np.diag(ours.covariance)))


def test_arena_rank_stops_early_and_so_is_up_to_a_third_of_a_point_off() -> None:
    sums = PairSums.of(chatbot_arena())
    ours = fit(sums)
    told, gap, _ = arena_rank("chatbot_arena", ours)
    assert 0.3 < np.abs(gap).max() < 0.33
    assert np.sqrt(np.mean(gap**2)) < 0.04

    def unexplained(theta: np.ndarray) -> float:
        """The largest |wins - expected wins| of a model, in votes; 0 at the maximum."""
        return float(
            np.abs((sums.points - sums.points.T + sums.totals * (1 - 2 * win_matrix(theta))).sum(axis=1) / 2).max()
        )

    assert unexplained((np.array(told["ratings"]) - 1000) / SCALE) > 1.5
    assert unexplained(ours.theta) < 1e-6


@pytest.mark.parametrize(
    ("name", "ridge", "narrowest"),
    [("chatbot_arena", 1e-5 * 1_670_250, 0.9407), ("chatbot_arena_reweighted", 1e-5, 0.9999)],
)
def test_arena_ranks_intervals_are_ours_but_for_its_ridge(name: str, ridge: float, narrowest: float) -> None:
    """Its Hessian gets a ridge (1e-5 per vote where votes are not reweighted): with it, its variances come out."""
    plain = PairSums.of(chatbot_arena())
    reweighted = name.endswith("reweighted")
    told, gap, ratio = arena_rank(name, fit(uniform_pairs(plain) if reweighted else plain))
    assert ratio.min() == pytest.approx(narrowest, abs=1e-4)
    assert 0.99 < np.median(ratio) < 1.0001
    assert np.abs(gap).max() < (0.04 if reweighted else 0.33)

    sums = plain.times(1 / np.maximum(plain.totals, 50)) if reweighted else plain
    p = win_matrix((np.array(told["ratings"]) - 1000) / SCALE)
    m = len(sums.models)
    bread, meat = np.eye(m) * ridge, np.zeros((m, m))
    halves = (sums.ties_squared + sums.both_bad_squared) * ((p - p.T) / 2) ** 2
    squares = sums.wins_squared * p.T**2 + (sums.wins_squared * p.T**2).T + halves
    for matrix, weights in ((bread, sums.totals * p * p.T), (meat, squares)):
        off = weights * (1 - np.eye(m))
        matrix += np.diag(off.sum(axis=1)) - off
    theirs = SCALE**2 * np.diag(np.linalg.inv(bread) @ meat @ np.linalg.inv(bread))
    assert theirs == pytest.approx(np.array(told["variances"]), rel=1e-5)


def test_arena_rank_agrees_on_style_when_it_does_not_shrink_it() -> None:
    votes, _, _ = llmfao()
    left, right = llmfao_style()
    ours = fit_style(votes, Covariates.of_sides(STYLE, left, right))
    told, gap, ratio = arena_rank("llmfao_style", ours.fit)
    assert np.abs(gap).max() < 0.05
    assert ours.effects == pytest.approx(told["effects"], abs=2e-5)
    assert ratio == pytest.approx(np.ones(len(ratio)), abs=0.005)


def test_arena_ranks_default_shrinks_style_to_a_tenth_and_moves_ratings_by_57_points() -> None:
    """Its penalty is on the mean loss: N times as strong as on the sum. Ours with a ridge of N gives its numbers."""
    votes, _, _ = llmfao()
    left, right = llmfao_style()
    covariates = Covariates.of_sides(STYLE, left, right)
    told, gap, _ = arena_rank("llmfao_style_default", fit_style(votes, covariates).fit)
    assert 57 < np.abs(gap).max() < 58
    assert np.abs(told["effects"]).max() < 0.11 * np.abs(fit_style(votes, covariates).effects).max()
    ridged = fit_style(votes, covariates, ridge=len(votes))
    assert ridged.effects == pytest.approx(told["effects"], abs=2e-5)
    assert np.abs(arena_rank("llmfao_style_default", ridged.fit)[1]).max() < 0.11
