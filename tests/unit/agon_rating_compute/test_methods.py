"""What published runs are fitted with."""

import numpy as np
import pytest

from agon.ratings import STYLE, PairCells
from agon.store.ballots import Ballots
from agon_rating_compute.methods import PARAMETERS, rank

N = 4000
MODELS = ("terse", "wordy", "third")


def ballots(effect: float, *, voters: int = 200, answered: bool = True, seed: int = 6) -> Ballots:
    """Three models that are equally good; `effect` is what a longer answer is worth in log-odds."""
    rng = np.random.default_rng(seed)
    left = rng.integers(0, 3, N)
    right = (left + rng.integers(1, 3, N)) % 3
    mean = np.array([100.0, 400.0, 200.0])
    style = [np.zeros((N, len(STYLE))), np.zeros((N, len(STYLE)))]
    for table, side in zip(style, (left, right), strict=True):
        table[:, 0] = mean[side] * rng.lognormal(0, 0.7, N)
    share = (style[0][:, 0] - style[1][:, 0]) / (style[0][:, 0] + style[1][:, 0])
    won = rng.random(N) < 1 / (1 + np.exp(-effect * share))
    return Ballots(
        [MODELS[i] for i in left], [MODELS[i] for i in right], ["a" if each else "b" for each in won],
        [f"voter-{n}" for n in rng.integers(0, voters, N)], np.full(N, answered), *style,
    )  # fmt: skip


def ratings(method: str, found: Ballots) -> dict[str, float]:
    cells = PairCells.count(zip(found.left, found.right, found.outcome, strict=True))
    ranking = rank(method, cells, found)
    assert ranking is not None
    return {row.model: row.rating for row in ranking.rows}


def test_style_control_takes_away_what_length_has_won() -> None:
    found = ballots(effect=1.5)
    raw, controlled = ratings("bradley_terry", found), ratings("style_controlled", found)
    assert raw["wordy"] - raw["terse"] > 100
    assert abs(controlled["wordy"] - controlled["terse"]) < 40


def test_clusters_change_the_intervals_and_not_the_ratings() -> None:
    found = ballots(effect=0.5)
    assert ratings("voter_clustered", found) == pytest.approx(ratings("bradley_terry", found))


def test_without_answers_or_voters_there_is_no_board_of_that_kind() -> None:
    found = ballots(effect=0.5, answered=False, voters=1)
    cells = PairCells.count(zip(found.left, found.right, found.outcome, strict=True))
    assert rank("style_controlled", cells, found) is None
    assert rank("voter_clustered", cells, found) is None
    assert rank("voter_clustered", cells, None) is None


def test_every_method_says_what_a_recount_needs() -> None:
    for method, parameters in PARAMETERS.items():
        assert parameters["ties"] == "half", method
