"""Votes one by one, and counted: what is refused, and that nothing depends on order."""

import numpy as np
import pytest

from agon.errors import InvalidRequest
from agon.ratings import CELL, PairCells, Votes, codes, fit, rank_models
from support.real_votes import llmfao

WORDS = np.array(list(CELL))


def test_encoded_votes_count_as_words_do() -> None:
    rng = np.random.default_rng(4)
    left = rng.integers(0, 7, 500)
    right = (left + rng.integers(1, 7, 500)) % 7
    outcome = rng.integers(0, 4, 500)
    names = ["zeta", "b", "äther", "a", "10", "9", "B"]
    by_words = PairCells.count(
        (names[i], names[j], str(WORDS[o])) for i, j, o in zip(left, right, outcome, strict=True)
    )
    by_codes = PairCells.of_codes([*names, "never met"], left, right, outcome)
    assert by_codes.models == by_words.models == tuple(sorted(names))
    for name in ("left", "right", "counts"):
        assert (getattr(by_codes, name) == getattr(by_words, name)).all()


def test_many_models_are_counted_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    votes, _, _ = llmfao()
    dense = votes.cells()
    monkeypatch.setattr("agon.ratings.cells._DENSE_PAIRS", 10)
    sparse = votes.cells()
    assert (dense.counts == sparse.counts).all()
    assert (dense.left == sparse.left).all()


def test_any_order_and_any_batches_give_the_same_bits() -> None:
    votes, _, _ = llmfao()
    once = rank_models(votes.cells())
    rng = np.random.default_rng(0)
    shuffled = votes.take(rng.permutation(len(votes)))
    assert rank_models(shuffled.cells()).rows == once.rows
    batches = [shuffled.take(np.arange(start, min(start + 1000, len(votes)))) for start in range(0, len(votes), 1000)]
    added: dict[tuple[str, str], np.ndarray] = {}
    for batch in batches:
        cells = batch.cells()
        for i, j, counts in zip(cells.left, cells.right, cells.counts, strict=True):
            pair = cells.models[i], cells.models[j]
            added[pair] = added.get(pair, 0) + counts
    kept = PairCells.of((left, right, counts.tolist()) for (left, right), counts in added.items())
    assert rank_models(kept).rows == once.rows


def test_ten_million_votes_are_counted() -> None:
    n, m = 10_000_000, 130
    rng = np.random.default_rng(1)
    left = rng.integers(0, m, n, dtype=np.int32)
    right = (left + rng.integers(1, m, n, dtype=np.int32)) % np.int32(m)
    cells = PairCells.of_codes([f"m{i}" for i in range(m)], left, right, rng.integers(0, 4, n, dtype=np.int8))
    assert cells.votes == n
    assert cells.votes_per_model().sum() == 2 * n
    assert fit(cells).gradient < 1e-3


@pytest.mark.parametrize(
    ("left", "right", "outcome", "message"),
    [
        (["x", "y"], ["y", "y"], ["a", "b"], "row 1: model 'y' can't meet itself"),
        (["x", "y"], ["y", "x"], ["a", "won"], "row 1: outcome 'won' is none of a, b, tie, both_bad"),
        (["x", "y"], ["y", "x"], ["a"], "2, 2 and 1 rows"),
    ],
)
def test_a_row_that_is_no_vote_is_named(left: list[str], right: list[str], outcome: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Votes.encode(left, right, outcome)


@pytest.mark.parametrize("bad", ["left", "right", "outcome"])
def test_a_code_out_of_range_is_named(bad: str) -> None:
    values = {"left": np.array([0, 1]), "right": np.array([1, 0]), "outcome": np.array([0, 1])}
    values[bad] = np.array([0, 9])
    with pytest.raises(InvalidRequest, match=f"a code of {bad}"):
        PairCells.of_codes(["x", "y"], **values)


def test_no_votes_are_an_empty_table() -> None:
    votes = Votes.encode([], [], [])
    assert (len(votes), votes.cells().votes, votes.models) == (0, 0, ())


def test_votes_between_some_models() -> None:
    votes = Votes.encode(["x", "y", "z"], ["y", "z", "x"], ["a", "tie", "b"])
    some, kept = votes.between(["z", "x"])
    assert some.models == ("x", "z")
    assert (len(some), kept.tolist()) == (1, [False, False, True])
    with pytest.raises(InvalidRequest, match="'w' is in no vote"):
        votes.between(["w", "x"])


def test_a_model_with_one_vote_is_named_and_the_rest_is_rated() -> None:
    ranking = rank_models(PairCells.count([("x", "y", "a"), ("y", "x", "a"), ("new", "x", "b")]))
    assert [row.model for row in ranking.rows] == ["x", "y"]
    assert [(u.model, u.reason) for u in ranking.unranked] == [("new", "winless")]


def test_all_ties_are_level_with_wide_intervals() -> None:
    rows = rank_models(PairCells.count([("x", "y", "tie"), ("y", "z", "tie"), ("z", "x", "both_bad")])).rows
    assert {round(row.rating, 9) for row in rows} == {1000}
    assert {row.rank for row in rows} == {1}
    assert all(row.upper - row.lower > 300 for row in rows)


def test_names_get_numbers() -> None:
    assert codes(["u", "v", "u", "w"]).tolist() == [0, 1, 0, 2]
