"""Exact resamples, and what a bootstrap says."""

import sys

import numpy as np
import pytest
from scipy import stats

from agon.errors import InvalidRequest
from agon.ratings import Anchor, PairCells, PairSums, bootstrap, fit, ratings, uniform_pairs
from agon.ratings.resampling import multinomial
from support.real_votes import chatbot_arena, llmfao


@pytest.mark.parametrize("counts", [[1, 1, 1], [3, 40, 7, 150], [300, 5, 2, 700, 1], [257, 256, 1]])
def test_resamples_have_the_multinomials_moments_and_always_all_votes(counts: list[int]) -> None:
    seed, rounds = 5, 8_000
    print("seed", seed)
    n, p = sum(counts), np.array(counts) / sum(counts)
    drawn = multinomial(np.random.default_rng(seed), np.array(counts), rounds)
    assert (drawn.sum(axis=1) == n).all()
    assert drawn.min() >= 0
    error = np.sqrt(n * p * (1 - p) / rounds)
    assert (np.abs(drawn.mean(axis=0) - n * p) < 5 * error).all()
    assert np.cov(drawn.T) == pytest.approx(n * (np.diag(p) - np.outer(p, p)), rel=0.1, abs=0.1 * n * p.max())


@pytest.mark.parametrize("cell", [0, 1, 2])
def test_each_count_is_binomial(cell: int) -> None:
    counts = np.array([4, 60, 400])
    drawn = multinomial(np.random.default_rng(6), counts, 10_000)[:, cell]
    low, high = np.quantile(drawn, [0.001, 0.999]).astype(int)
    edges = np.arange(low, high + 1)
    seen = np.array([(drawn == k).sum() for k in edges])
    wanted = len(drawn) * stats.binom.pmf(edges, 464, counts[cell] / 464)
    enough = wanted > 5
    assert stats.chisquare(seen[enough], wanted[enough] * seen[enough].sum() / wanted[enough].sum()).pvalue > 1e-3


def test_many_single_votes_are_drawn_too() -> None:
    drawn = multinomial(np.random.default_rng(0), np.ones(1000, dtype=np.int64), 50)
    assert (drawn.sum(axis=1) == 1000).all()
    assert 0.35 < (drawn == 0).mean() < 0.39  # 1/e


def test_real_errors_are_those_of_the_sandwich() -> None:
    sums = PairSums.of(chatbot_arena())
    boot = bootstrap(sums, 200, seed=1)
    ratio = boot.ratings().error / ratings(fit(sums)).error
    assert np.median(ratio) == pytest.approx(1, abs=0.03)
    assert (boot.disconnected, boot.missing.sum()) == (0, 0)


def test_a_round_is_fitted_to_its_own_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round's ratings are what a plain fit of the round's votes gives."""
    cells = llmfao()[0].cells()
    rounds: list[np.ndarray] = []

    def spy(rng: np.random.Generator, counts: np.ndarray, n: int) -> np.ndarray:
        rounds.append(multinomial(rng, counts, n))
        return rounds[0]

    monkeypatch.setattr(sys.modules["agon.ratings.bootstrap"], "multinomial", spy)
    sums = PairSums.of(cells)
    boot = bootstrap(sums, 5, seed=3)
    m = len(sums.models)
    flat = np.stack([sums.wins.ravel(), np.triu(sums.ties + sums.both_bad).ravel()]).ravel()
    for drawn, theta in zip(rounds[0], boot.theta, strict=True):
        cell = np.zeros(2 * m * m)
        cell[np.flatnonzero(flat)] = drawn
        wins, ties = cell.reshape(2, m, m)
        ties = ties + ties.T
        nothing = np.zeros_like(wins)
        assert theta == pytest.approx(
            fit(PairSums(sums.models, wins, ties, nothing, wins, ties, nothing)).theta, abs=1e-5
        )


def test_rounds_that_fall_apart_are_counted_and_their_rest_is_rated() -> None:
    cells = PairCells.of(
        [
            ("x", "y", (60, 50, 5, 0)),
            ("y", "z", (40, 60, 0, 0)),
            ("z", "x", (70, 40, 3, 0)),
            ("rare", "x", (1, 1, 0, 0)),
        ]
    )
    boot = bootstrap(PairSums.of(cells), 400, seed=2)
    rare = boot.fit.models.index("rare")
    assert boot.missing[rare] == boot.disconnected > 100  # (1 - 1/e)^2 of the rounds keep both of its votes
    assert boot.missing.sum() == boot.missing[rare]
    told = boot.ratings()
    assert np.isfinite(told.error).all()
    assert (told.lower <= told.rating).all()
    assert (told.rating <= told.upper).all()


def test_an_anchor_has_no_width() -> None:
    told = bootstrap(PairSums.of(llmfao()[0].cells()), 50).ratings(anchor=Anchor("GPT 4", 1200))
    at = llmfao()[0].models.index("GPT 4")
    assert (told.rating[at], told.lower[at], told.upper[at], told.error[at]) == (1200, 1200, 1200, 0)


def test_the_same_seed_gives_the_same_rounds() -> None:
    sums = PairSums.of(llmfao()[0].cells())
    assert (bootstrap(sums, 5, seed=9).theta == bootstrap(sums, 5, seed=9).theta).all()
    assert (bootstrap(sums, 5, seed=9).theta != bootstrap(sums, 5, seed=8).theta).any()


def test_what_can_not_be_resampled_is_refused() -> None:
    cells = llmfao()[0].cells()
    with pytest.raises(InvalidRequest, match="unweighted"):
        bootstrap(uniform_pairs(cells))
    with pytest.raises(InvalidRequest, match="at least two rounds"):
        bootstrap(PairSums.of(cells), 1)
    with pytest.raises(InvalidRequest, match="between 0 and 1"):
        bootstrap(PairSums.of(cells), 2).ratings(level=95)
    with pytest.raises(InvalidRequest, match="not among the rated"):
        bootstrap(PairSums.of(cells), 2).ratings(anchor=Anchor("nobody"))
