"""From cells to a board: who can be compared, ratings on Elo's scale with intervals, and ranges of ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from agon.ratings.bradley_terry import Fit, maximise
from agon.ratings.cells import PairCells
from agon.ratings.components import scored, strong_components

SCALE = 400 / np.log(10)
"""Rating points per unit of log-odds: 400 points are odds of 10 to 1."""
CENTRE = 1000.0
"""The mean of a board's ratings."""
Z95 = 1.959963984540054

# Below so many votes a model's sandwich variance means little (one tie would give 0), so the larger of it and the
# information's is taken.
FEW_VOTES = 30

Reason = Literal["undefeated", "winless", "unconnected"]


@dataclass(frozen=True, slots=True)
class Rated:
    """A row. Ranks count from 1; `rank_best` and `rank_worst` follow from which 95 % intervals overlap."""

    rank: int
    rank_best: int
    rank_worst: int
    model: str
    rating: float
    lower: float
    upper: float
    votes: int


@dataclass(frozen=True, slots=True)
class Unranked:
    """A model that can't be compared with those on the board: it has votes, but no finite rating follows from them.

    `undefeated` never lost a point, `winless` never got one, `unconnected` met only models that are not on the board,
    or won or lost all against those that are.
    """

    model: str
    votes: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Ranking:
    """`rows` from best to worst, `unranked` by name. `fit` is None where no two models can be compared."""

    rows: tuple[Rated, ...]
    unranked: tuple[Unranked, ...]
    votes: int
    fit: Fit | None
    log_odds: Mapping[str, float]
    """theta by model: what the next fit may start from"""


def rank_models(cells: PairCells, start: Mapping[str, float] | None = None) -> Ranking:
    """Rate the models of the largest strong component and name the others with the reason.

    Of several largest the one with more votes is taken, then the one with the first name.
    """
    heads, tails = scored(cells)
    votes = cells.votes_per_model()
    components = strong_components(len(cells.models), heads.tolist(), tails.tolist())
    main = max(components, key=lambda c: (len(c), int(votes[c].sum()), [-i for i in c]), default=[])
    if len(main) < 2:
        main = []
    outside = sorted(set(range(len(cells.models))) - set(main))
    unranked = tuple(
        Unranked(cells.models[i], int(votes[i]), _reason(i, set(heads.tolist()), set(tails.tolist()))) for i in outside
    )
    if not main:
        return Ranking((), unranked, cells.votes, None, {})
    inside = cells.only(main)
    known = start or {}
    fitted = maximise(inside, np.array([known.get(model, 0.0) for model in inside.models]))
    rows = _rows(inside, fitted, votes[main])
    return Ranking(rows, unranked, cells.votes, fitted, dict(zip(inside.models, fitted.theta.tolist(), strict=True)))


def _reason(model: int, winners: set[int], losers: set[int]) -> Reason:
    if model not in losers:
        return "undefeated"
    return "unconnected" if model in winners else "winless"


def _rows(cells: PairCells, fitted: Fit, votes: npt.NDArray[np.int64]) -> tuple[Rated, ...]:
    variance = np.diag(fitted.covariance)
    few = cells.votes_per_model() < FEW_VOTES
    variance = np.where(few, np.maximum(variance, np.diag(fitted.information_inverse)), variance)
    rating = CENTRE + SCALE * fitted.theta
    half = Z95 * SCALE * np.sqrt(np.maximum(variance, 0.0))
    lower, upper = rating - half, rating + half
    best_first = sorted(range(len(rating)), key=lambda i: (-rating[i], cells.models[i]))
    return tuple(
        Rated(
            rank=1 + int(np.sum(rating > rating[i])),
            rank_best=1 + int(np.sum(lower > upper[i])),
            rank_worst=len(rating) - int(np.sum(upper < lower[i])),
            model=cells.models[i],
            rating=float(rating[i]),
            lower=float(lower[i]),
            upper=float(upper[i]),
            votes=int(votes[i]),
        )
        for i in best_first
    )
