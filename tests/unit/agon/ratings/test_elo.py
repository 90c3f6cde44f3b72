"""The ticker, and win rates."""

import evalica
import numpy as np
import pytest

from agon.errors import InvalidRequest
from agon.ratings import PairCells, Votes, elo, elo_averaged, fit, uniform_pairs, win_rates
from support.real_votes import llmfao


def test_a_vote_moves_both_by_the_surprise() -> None:
    votes = Votes.encode(["x", "x"], ["y", "y"], ["a", "tie"])
    rating = elo(votes, step=32)
    first = 16.0
    p = 1 / (1 + 10 ** (-2 * first / 400))
    assert rating == pytest.approx([1000 + first + 32 * (0.5 - p), 1000 - first - 32 * (0.5 - p)])


def test_going_on_is_the_same_as_going_through() -> None:
    votes, _, _ = llmfao()
    half = np.arange(len(votes)) < 4000
    assert (elo(votes.take(~half), start=elo(votes.take(half))) == elo(votes)).all()


def test_evalica_has_the_same_ticker() -> None:
    votes, _, _ = llmfao()
    names = np.array(votes.models)
    winner = np.array([evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw], dtype=object)
    theirs = evalica.elo(
        names[votes.left].tolist(), names[votes.right].tolist(), winner[votes.outcome].tolist(), initial=1000, k=4
    )
    assert elo(votes) == pytest.approx([theirs.scores[name] for name in votes.models], abs=1e-9)


def test_an_average_over_orders_is_steadier_than_one_order_and_near_bradley_terry() -> None:
    votes, _, _ = llmfao()
    one, other = (elo_averaged(votes, permutations=20, seed=seed).rating for seed in (1, 2))
    assert np.abs(one - other).mean() < elo_averaged(votes, permutations=20).spread.mean()
    assert np.corrcoef(one, fit(votes.cells()).theta)[0, 1] > 0.97


def test_no_step_and_no_orders_are_refused() -> None:
    votes = Votes.encode(["x"], ["y"], ["a"])
    with pytest.raises(InvalidRequest, match="above 0"):
        elo(votes, step=0)
    with pytest.raises(InvalidRequest, match="two orders"):
        elo_averaged(votes, permutations=1)


def test_a_win_rate_counts_each_opponent_once() -> None:
    cells = PairCells.of([("x", "y", (90, 10, 0, 0)), ("z", "x", (5, 3, 1, 1))])
    rates = win_rates(cells)
    assert rates.rate == pytest.approx([(0.9 + 0.4) / 2, 0.1, 0.6])
    assert rates.opponents.tolist() == [2, 1, 1]


def test_win_rates_are_evalicas() -> None:
    votes, _, _ = llmfao()
    names = np.array(votes.models)
    winner = np.array([evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw], dtype=object)
    theirs = evalica.average_win_rate(
        names[votes.left].tolist(), names[votes.right].tolist(), winner[votes.outcome].tolist()
    )
    assert win_rates(votes.cells()).rate == pytest.approx([theirs.scores[name] for name in votes.models], abs=1e-12)


def test_a_win_rates_error_is_the_binomials() -> None:
    cells = PairCells.of([("x", "y", (900, 100, 0, 0))])
    assert win_rates(cells).error[0] == pytest.approx(np.sqrt(0.9 * 0.1 / 1000), rel=0.01)
    undefeated = win_rates(PairCells.of([("x", "y", (10, 0, 0, 0))]))
    assert undefeated.rate[0] == 1
    assert undefeated.error[0] > 0.05


def test_rates_of_weighted_pairs_are_the_same() -> None:
    cells = llmfao()[0].cells()
    assert win_rates(uniform_pairs(cells)).rate == pytest.approx(win_rates(cells).rate, abs=1e-12)
