"""From votes to a board."""

import random

import numpy as np
import pytest

from agon.errors import InvalidRequest
from agon.ratings import PairCells, Ranking, rank_models, strong_components
from agon.ratings.ranking import CENTRE
from support.real_votes import chatbot_arena


def ranked(votes: list[tuple[str, str, str]]) -> Ranking:
    return rank_models(PairCells.count(votes))


def random_votes(models: int, n: int, seed: int) -> list[tuple[str, str, str]]:
    rng = random.Random(seed)
    names = [f"model-{i}" for i in range(models)]
    votes = []
    for _ in range(n):
        left, right = rng.sample(range(models), 2)
        outcomes = ["a"] * (1 + models - left) + ["b"] * (1 + models - right) + ["tie"] * 2 + ["both_bad"]
        votes.append((names[left], names[right], rng.choice(outcomes)))
    return votes


def test_ratings_are_on_elos_scale_around_1000() -> None:
    rows = ranked([("x", "y", "a")] * 10 + [("x", "y", "b")]).rows
    assert [row.model for row in rows] == ["x", "y"]
    assert rows[0].rating - rows[1].rating == pytest.approx(400)
    assert np.mean([row.rating for row in rows]) == pytest.approx(CENTRE)
    assert [row.votes for row in rows] == [11, 11]
    assert rows[0].lower < rows[0].rating < rows[0].upper


def test_the_order_of_votes_changes_no_bit() -> None:
    votes = random_votes(9, 3000, seed=1)
    first = ranked(votes)
    for seed in range(3):
        random.Random(seed).shuffle(votes)
        assert ranked(votes).rows == first.rows


def test_an_undefeated_and_a_winless_model_are_named_and_not_rated() -> None:
    votes = [("x", "y", "a"), ("y", "x", "a"), ("god", "x", "a"), ("god", "y", "a"), ("x", "nil", "a")]
    ranking = ranked(votes)
    assert [row.model for row in ranking.rows] == ["x", "y"]
    assert [(u.model, u.votes, u.reason) for u in ranking.unranked] == [("god", 2, "undefeated"), ("nil", 1, "winless")]
    assert ranking.votes == 5
    assert {row.model: row.votes for row in ranking.rows} == {"x": 4, "y": 3}


def test_models_that_never_met_the_others_are_named() -> None:
    island = [("p", "q", "a"), ("q", "p", "a")]
    ranking = ranked([("x", "y", "a"), ("y", "z", "a"), ("z", "x", "a"), *island])
    assert [row.model for row in ranking.rows] == ["x", "y", "z"]
    assert [(u.model, u.reason) for u in ranking.unranked] == [("p", "unconnected"), ("q", "unconnected")]


def test_of_two_islands_the_one_with_more_votes_is_ranked() -> None:
    ranking = ranked([("a", "b", "tie")] + [("y", "z", "tie")] * 2)
    assert {row.model for row in ranking.rows} == {"y", "z"}


def test_one_vote_ranks_nobody() -> None:
    ranking = ranked([("x", "y", "a")])
    assert ranking.rows == ()
    assert [(u.model, u.reason) for u in ranking.unranked] == [("x", "undefeated"), ("y", "winless")]


def test_no_vote_is_an_empty_board() -> None:
    assert ranked([]) == Ranking((), (), 0, None, {})


def test_one_tie_is_not_taken_for_certainty() -> None:
    """All residuals are 0 then, and so is the sandwich: the information's variance stands in."""
    rows = ranked([("x", "y", "tie")]).rows
    assert all(row.rating == pytest.approx(CENTRE) for row in rows)
    assert all(row.upper - row.lower > 400 for row in rows)


def test_ranges_of_ranks_follow_from_the_intervals() -> None:
    rows = ranked(random_votes(6, 4000, seed=5)).rows
    for row in rows:
        assert row.rank_best == 1 + sum(other.lower > row.upper for other in rows)
        assert row.rank_worst == len(rows) - sum(other.upper < row.lower for other in rows)
        assert row.rank_best <= row.rank <= row.rank_worst
    assert rows[0].rank_worst < 6  # with 4000 votes something is known


def test_equal_ratings_share_a_rank() -> None:
    assert [row.rank for row in ranked([("x", "y", "a"), ("y", "x", "a")]).rows] == [1, 1]


def test_a_refit_may_start_from_other_models() -> None:
    before = ranked(random_votes(5, 300, seed=2))
    cells = PairCells.count(random_votes(6, 600, seed=3))
    assert [row.rating for row in rank_models(cells, before.log_odds).rows] == pytest.approx(
        [row.rating for row in rank_models(cells).rows], abs=1e-7
    )


@pytest.mark.parametrize(
    ("votes", "message"),
    [([("x", "x", "a")], "can't meet itself"), ([("x", "y", "draw")], "none of a, b, tie, both_bad")],
)
def test_a_vote_that_is_none_is_refused(votes: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        ranked(votes)


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_mutual_reachability(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    edges = rng.random((n, n)) < 1.2 / n
    reach = np.linalg.matrix_power(edges.astype(np.int64) + np.eye(n, dtype=np.int64), n) > 0
    mutual = reach & reach.T
    wanted = sorted({tuple(np.nonzero(mutual[i])[0].tolist()) for i in range(n)})
    heads, tails = np.nonzero(edges)
    assert [tuple(c) for c in strong_components(n, heads.tolist(), tails.tolist())] == wanted


def test_real_votes_are_fitted_to_the_last_digit() -> None:
    ranking = rank_models(chatbot_arena())
    assert ranking.votes == 1_670_250
    assert len(ranking.rows) == 129
    assert ranking.fit is not None
    assert ranking.fit.gradient < 1e-6
