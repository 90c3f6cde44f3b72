"""From votes to a board: who can be compared, ratings on Elo's scale with intervals, and ranges of ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from agon.ratings.bradley_terry import METHOD, Fit, maximise
from agon.ratings.cells import Array, PairCells
from agon.ratings.components import main_component
from agon.ratings.intervals import CENTRE, FEW_VOTES, SCALE, Anchor, guarded, ratings
from agon.ratings.sums import PairSums
from agon.ratings.tie_models import fit_ties

__all__ = ["CENTRE", "FEW_VOTES", "SCALE", "Ranking", "Rated", "Unranked", "rank_fit", "rank_models", "split"]

Reason = Literal["undefeated", "winless", "unconnected"]
Method = Literal["bradley_terry", "rao_kupper", "davidson", "grounded"]
BothBad = Literal["tie", "apart"]


class Rated(NamedTuple):
    """A row. Ranks count from 1; `rank_best` and `rank_worst` follow from which intervals overlap (Arena's rule)."""

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


def rank_models(
    votes: PairCells | PairSums,
    start: Mapping[str, float] | None = None,
    *,
    method: Method = METHOD,
    both_bad: BothBad = "tie",
    anchor: Anchor | None = None,
    level: float = 0.95,
) -> Ranking:
    """Rate the models of the largest strong component and name the others with the reason.

    Of several largest the one with more votes is taken, then the one with the first name. Votes that found both bad
    are ties, or stay `apart` and uncounted; the grounded model has its own place for them. Weighted sums
    (`uniform_pairs`, `voter_mix`) are ranked the same way, with the votes that are behind them (`PairSums.votes`).
    `start` helps only `bradley_terry`. Raises `InvalidRequest` where a tie model's maximum is out of reach, and for an
    anchor that is not on the board.

    >>> rank_models(PairCells.of([("x", "y", (9, 3, 4, 0))]), anchor=Anchor("y", 1000)).rows[0].rating > 1100
    True
    """
    sums = votes if isinstance(votes, PairSums) else PairSums.of(votes)
    if both_bad == "apart" and method != "grounded":
        sums = sums.both_bad_apart()
    members, unranked = split(sums)
    counted = sums.votes
    total = int(np.rint(np.triu(counted).sum()))
    if not members:
        return Ranking((), unranked, total, None, {})
    inside = sums.only(members)
    if method == METHOD:
        known = start or {}
        fitted = maximise(inside, np.array([known.get(model, 0.0) for model in inside.models]) if known else None)
    else:
        fitted = fit_ties(inside, method)
    return rank_fit(fitted, counted.sum(axis=1)[members], unranked, total=total, anchor=anchor, level=level)


def split(sums: PairSums) -> tuple[list[int], tuple[Unranked, ...]]:
    """The models that can be compared (sorted indices; none if there are not two), and the others by name."""
    points = sums.points
    votes = sums.votes.sum(axis=1)
    members = main_component(points, votes)
    if len(members) < 2:
        members = []
    inside = set(members)
    won, lost = points.sum(axis=1) > 0, points.sum(axis=0) > 0

    def reason(i: int) -> Reason:
        if not lost[i] and won[i]:
            return "undefeated"
        return "winless" if lost[i] and not won[i] else "unconnected"

    outside = [i for i in range(len(sums.models)) if i not in inside]
    return members, tuple(Unranked(sums.models[i], int(np.rint(votes[i])), reason(i)) for i in outside)


def rank_fit(
    fitted: Fit,
    votes: Array,
    unranked: tuple[Unranked, ...] = (),
    *,
    total: int | None = None,
    anchor: Anchor | None = None,
    level: float = 0.95,
) -> Ranking:
    """A board of any fit: with covariates, clustered, reweighted. `votes` (M,) are those of the fit's models.

    `total` counts all votes (by default those of the fit's models). A model with fewer than `FEW_VOTES` votes gets the
    larger of its two variances (`guarded`).
    """
    scale = ratings(guarded(fitted, votes), anchor=anchor, level=level)
    names, rating, lower, upper = fitted.models, scale.rating, scale.lower, scale.upper
    best = 1 + np.searchsorted(np.sort(-lower), -upper, side="left")
    worst = len(names) - np.searchsorted(np.sort(upper), lower, side="left")
    rank = 1 + np.searchsorted(np.sort(-rating), -rating, side="left")
    # Lists, because reading an array number by number is most of the time that a board takes.
    places = zip(rank.tolist(), best.tolist(), worst.tolist(), strict=True)
    numbers = zip(
        rating.tolist(), lower.tolist(), upper.tolist(), np.rint(votes).astype(np.int64).tolist(), strict=True
    )
    found = (Rated(*place, name, *values) for place, name, values in zip(places, names, numbers, strict=True))
    rows = tuple(sorted(found, key=lambda row: (-row.rating, row.model)))
    counted = int(np.rint(votes.sum() / 2)) if total is None else total
    return Ranking(rows, unranked, counted, fitted, dict(zip(names, fitted.theta.tolist(), strict=True)))
