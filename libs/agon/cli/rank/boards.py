"""From a table of votes to boards, by the method that was asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from agon.cli.rank.report import Board
from agon.errors import InvalidRequest
from agon.ratings import Anchor, PairCells, Ranking, rank_models, rank_ranges, simultaneous, uniform_pairs
from agon.ratings.intervals import FEW_VOTES
from agon.ratings.quantiles import two_sided
from agon.ratings.ranking import BothBad, Method

if TYPE_CHECKING:
    from agon.ratings.tables import VoteTable

Ranks = Literal["overlap", "pairwise", "joint"]

MOST_BOARDS = 200
_CLEARLY = 4.0
"""So many standard errors from an even split make a position bias worth a sentence."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How votes become a board."""

    method: Method = "bradley_terry"
    both_bad: BothBad = "tie"
    reweight: bool = False
    anchor: Anchor | None = None
    level: float = 0.95
    ranks: Ranks = "overlap"
    min_votes: int = 0


def boards(table: "VoteTable", recipe: Recipe, by: str | None) -> list[Board]:
    """The board of all votes and, with `by`, one for each value of that column, those with most votes first."""
    made = [_board("overall", table, recipe)]
    if by is not None:
        parts = [_board(name, part, recipe) for name, part in _parts(table, by)]
        made += sorted(parts, key=lambda board: (-board.ranking.votes, board.name))
    return made


def _parts(table: "VoteTable", by: str) -> Iterator[tuple[str, "VoteTable"]]:
    """The votes of each value; of each member, where a column holds lists (a vote then counts in several)."""
    import polars as pl

    series = table.carried[by]
    if series.dtype == pl.Struct:
        raise InvalidRequest(
            f"column {by!r} holds objects: --by takes a column of words or of lists of words", param=by
        )
    lists = series.dtype == pl.List
    told = pl.DataFrame({"row": np.arange(len(series)), "value": series})
    told = (told.explode("value") if lists else told).drop_nulls().with_columns(pl.col("value").cast(pl.String))
    values = told["value"].unique().sort().to_list()
    if len(values) > MOST_BOARDS:
        raise InvalidRequest(
            f"column {by!r} has {len(values):,} values: --by makes at most {MOST_BOARDS} boards", param=by
        )
    for value in values:
        keep = np.zeros(len(series), dtype=np.bool_)
        keep[told.filter(pl.col("value") == value)["row"].to_numpy()] = True
        yield value, table.take(keep)


def _board(name: str, table: "VoteTable", recipe: Recipe) -> Board:
    cells = table.cells()
    notes: list[str] = []
    if recipe.min_votes:
        votes = cells.votes_per_model()
        kept = np.flatnonzero(votes >= recipe.min_votes)
        if len(kept) < len(cells.models):
            gone = len(cells.models) - len(kept)
            notes.append(f"{_models(gone)} with fewer than {recipe.min_votes} votes left out, and their votes.")
            cells = cells.only(kept.tolist())
    ranking = rank_models(
        uniform_pairs(cells) if recipe.reweight else cells,
        method=recipe.method,
        both_bad=recipe.both_bad,
        anchor=recipe.anchor,
        level=recipe.level,
    )
    return Board(name, _ranked(ranking, recipe), cells, (*notes, *_notes(ranking, cells, table.sides)))


def _ranked(ranking: Ranking, recipe: Recipe) -> Ranking:
    """With ranges of ranks by another rule than that of overlapping intervals, if so asked."""
    fit = ranking.fit
    if recipe.ranks == "overlap" or fit is None:
        return ranking
    critical = (
        simultaneous(fit, level=recipe.level) if recipe.ranks == "joint" else two_sided(recipe.level, fit.degrees)
    )
    ranges = rank_ranges(fit, critical)
    best = dict(zip(fit.models, ranges.best.tolist(), strict=True))
    worst = dict(zip(fit.models, ranges.worst.tolist(), strict=True))
    rows = (replace(row, rank_best=best[row.model], rank_worst=worst[row.model]) for row in ranking.rows)
    return replace(ranking, rows=tuple(rows))


def _notes(ranking: Ranking, cells: PairCells, sides: bool) -> Iterator[str]:
    """What is known to make readers of a board stumble."""
    if not ranking.rows:
        yield "No two models can be compared: there are no ratings."
    elif ranking.unranked:
        yield f"{_models(len(ranking.unranked))} can't be compared with the others, and no rating is made up for them."
    few = sum(row.votes < FEW_VOTES for row in ranking.rows)
    if few:
        yield f"{_models(few)} with fewer than {FEW_VOTES} votes: take these intervals as rough."
    wins = cells.counts[:, :2].sum(axis=0)
    decided = int(wins.sum())
    if sides and decided and abs(2 * wins[0] - decided) > _CLEARLY * decided**0.5:
        yield f"The left side won {wins[0] / decided:.1%} of the votes that have a winner, more than chance explains."


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"
