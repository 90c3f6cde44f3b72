"""Questions to a board: how many votes more, how many less, and the best of several."""

import numpy as np
import pytest

from agon.errors import InvalidRequest
from agon.ratings import (
    Anchor,
    PairCells,
    PairSums,
    best_of,
    difference,
    fit,
    ratings,
    votes_to_dethrone,
    votes_to_separate,
)
from support.real_votes import chatbot_arena


def with_expected_votes(cells: PairCells, x: str, y: str, n: int) -> PairSums:
    """The sums after n more votes between two models that fall as the fit and the share of ties say."""
    sums, found = PairSums.of(cells), fit(cells)
    i, j = cells.models.index(x), cells.models.index(y)
    p = 1 / (1 + np.exp(found.theta[j] - found.theta[i]))
    ties = np.triu(sums.ties + sums.both_bad).sum() / np.triu(sums.totals).sum()
    wins, tied = sums.wins.copy(), sums.ties.copy()
    wins[i, j] += n * (p - ties / 2)
    wins[j, i] += n * (1 - p - ties / 2)
    tied[i, j] += n * ties
    tied[j, i] += n * ties
    return PairSums(sums.models, wins, tied, sums.both_bad, wins, tied, sums.both_bad)


@pytest.mark.parametrize("neighbours", [(3, 4), (10, 11), (60, 61)])
def test_that_many_votes_do_separate_them_and_a_tenth_less_do_not(neighbours: tuple[int, int]) -> None:
    cells = chatbot_arena()
    found = fit(cells)
    order = np.argsort(-found.theta)
    x, y = (found.models[order[k]] for k in neighbours)
    n = votes_to_separate(found, PairSums.of(cells), x, y)
    assert n is not None
    if n == 0:
        assert difference(found, x, y).lower > 0
        return
    assert difference(fit(with_expected_votes(cells, x, y, int(1.1 * n))), x, y).lower > 0
    assert difference(fit(with_expected_votes(cells, x, y, int(0.9 * n))), x, y).lower < 0


def test_more_certainty_takes_more_votes_and_level_models_never_separate() -> None:
    cells = PairCells.of([("x", "y", (55, 45, 10, 0)), ("y", "z", (50, 50, 0, 0)), ("z", "x", (45, 55, 0, 0))])
    found, sums = fit(cells), PairSums.of(cells)
    at_95, at_99 = (votes_to_separate(found, sums, "x", "y", level=level) for level in (0.95, 0.99))
    assert at_95 is not None
    assert at_99 is not None
    assert 0 < at_95 < at_99
    level = fit(PairCells.of([("x", "y", (5, 5, 0, 0))]))
    assert votes_to_separate(level, PairSums.of(PairCells.of([("x", "y", (5, 5, 0, 0))])), "x", "y") is None
    with pytest.raises(InvalidRequest, match="'w' is not among the rated"):
        votes_to_separate(found, sums, "x", "w")


def test_the_first_place_of_two_falls_with_the_votes_that_make_its_lead() -> None:
    found = votes_to_dethrone(PairCells.of([("x", "y", (12, 7, 3, 0))]))
    assert found is not None
    assert (found.first, found.successor, found.votes) == ("x", "y", 6)
    assert [(r.left, r.right, r.outcome, r.count) for r in found.removed] == [("x", "y", "a", 6)]


def fewest_by_trying(cells: PairCells, most: int) -> int | None:
    """All ways to remove up to `most` votes."""
    first = int(np.argmax(fit(cells).theta))
    kinds = np.flatnonzero(cells.counts.ravel())

    def falls(counts: np.ndarray, left: int, start: int) -> bool:
        if left == 0:
            try:
                theta = fit(PairCells(cells.models, cells.left, cells.right, counts.reshape(-1, 4))).theta
            except InvalidRequest:
                return False
            return int(np.argmax(theta)) != first and theta.max() > theta[first] + 1e-9
        for at in range(start, len(kinds)):
            if counts[kinds[at]]:
                counts[kinds[at]] -= 1
                if falls(counts, left - 1, at):
                    return True
                counts[kinds[at]] += 1
        return False

    return next((n for n in range(1, most + 1) if falls(cells.counts.ravel().copy(), n, 0)), None)


@pytest.mark.parametrize("seed", range(6))
def test_no_smaller_set_of_votes_would_do(seed: int) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    cells = PairCells.of((a, b, rng.integers(1, 9, 4)) for a, b in [("x", "y"), ("y", "z"), ("z", "x")])
    found = votes_to_dethrone(cells)
    if found is None or found.votes > 4:
        assert fewest_by_trying(cells, 3) is None
    else:
        assert fewest_by_trying(cells, 4) == found.votes


def test_the_votes_named_are_there_and_their_removal_does_dethrone() -> None:
    cells = chatbot_arena()
    found = votes_to_dethrone(cells)
    assert found is not None
    assert found.first == "chatgpt-4o-latest"
    assert found.votes < 500
    assert found.share == found.votes / 1_670_250
    counts = {
        (cells.models[i], cells.models[j]): row.copy()
        for i, j, row in zip(cells.left, cells.right, cells.counts, strict=True)
    }
    for r in found.removed:
        counts[r.left, r.right][["a", "b", "tie", "both_bad"].index(r.outcome)] -= r.count
    assert sum(r.count for r in found.removed) == found.votes
    after = fit(PairCells.of((i, j, row) for (i, j), row in counts.items()))
    assert after.models[int(np.argmax(after.theta))] == found.successor


def variants(gaps: list[float], n: int) -> PairCells:
    """Variants that won so many more of n votes against one other model."""
    cells = [
        (f"v{k}", "rival", (round(n * (0.5 + gap)), n - round(n * (0.5 + gap)), 0, 0)) for k, gap in enumerate(gaps)
    ]
    return PairCells.of(cells)


def test_a_clear_best_keeps_its_interval() -> None:
    found = fit(variants([0.2, 0.0, -0.1], 4000))
    chosen = best_of(found, ["v0", "v1", "v2"])
    plain = ratings(found)
    at = found.models.index("v0")
    assert chosen.model == "v0"
    assert chosen.estimate == pytest.approx(chosen.plain, abs=0.01)
    assert chosen.upper - chosen.lower == pytest.approx(plain.upper[at] - plain.lower[at], rel=0.05)


def test_the_best_of_equals_is_taken_down() -> None:
    found = fit(variants([0.02, 0.015, 0.01, 0.0, 0.012, 0.018], 1000))
    chosen = best_of(found, [f"v{k}" for k in range(6)], anchor=Anchor("rival", 1000))
    assert chosen.model == "v0"
    assert chosen.estimate < chosen.plain - 1
    assert chosen.lower < chosen.estimate < chosen.upper
    told = ratings(found, anchor=Anchor("rival", 1000))
    assert chosen.plain == pytest.approx(told.rating[found.models.index("v0")])
    assert chosen.lower < told.lower[found.models.index("v0")]


def test_a_selection_that_is_none_is_refused() -> None:
    found = fit(variants([0.1, 0.0], 100))
    for chosen, anchor in ((["v0"], None), (["v0", "v0"], None), (["v0", "v1"], Anchor("v1"))):
        with pytest.raises(InvalidRequest, match="two different variants"):
            best_of(found, chosen, anchor=anchor)
    with pytest.raises(InvalidRequest, match="not among the rated"):
        best_of(found, ["v0", "v9"])
