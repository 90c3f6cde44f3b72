"""From a table of votes to boards."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agon.cli.rank.fitting import Fitted, fitted
from agon.cli.rank.recipe import Recipe
from agon.cli.rank.report import Board
from agon.cli.rank.single_votes import groups
from agon.errors import InvalidRequest
from agon.ratings import PairCells, Ranking
from agon.ratings.intervals import FEW_VOTES

if TYPE_CHECKING:
    from agon.ratings.tables import VoteTable

MOST_BOARDS = 200
_CLEARLY = 4.0
"""So many standard errors from an even split make a position bias worth a sentence."""


@dataclass(frozen=True, slots=True)
class Made:
    """The board of all votes with what it came from, and those of the parts."""

    first: Board
    fitted: Fitted
    parts: tuple[Board, ...] = ()


def boards(table: "VoteTable", recipe: Recipe, by: str | None) -> Made:
    """The board of all votes and, with `by`, one for each value of that column, those with most votes first.

    A part that can't be fitted says why, and stops nothing. Raises `InvalidRequest` where the whole can't.
    """
    if recipe.position and not table.sides:
        raise InvalidRequest("--position needs to know who stood left: counts of pairs and lists of wins don't tell")
    first, made = _board("overall", table, recipe)
    parts: list[Board] = []
    if by is not None:
        values = groups(table, by)
        if len(values) > MOST_BOARDS:
            told = f"column {by!r} has {len(values):,} values: --by makes at most {MOST_BOARDS} boards"
            raise InvalidRequest(told, param=by)
        parts = [_part(name, table.take(keep), recipe) for name, keep in values]
        parts.sort(key=lambda board: (-board.ranking.votes, board.name))
    return Made(first, made, tuple(parts))


def _part(name: str, table: "VoteTable", recipe: Recipe) -> Board:
    try:
        return _board(name, table, recipe)[0]
    except InvalidRequest as error:
        cells = table.cells()
        return Board(name, Ranking((), (), cells.votes, None, {}), cells, (f"No ratings: {error.message}.",))


def _board(name: str, table: "VoteTable", recipe: Recipe) -> tuple[Board, Fitted]:
    cells = table.cells()
    made = fitted(table, cells, recipe)
    notes = tuple(_notes(made, cells, recipe, sides=table.sides))
    return Board(name, made.ranking, cells, notes, made.findings), made


def _notes(made: Fitted, cells: PairCells, recipe: Recipe, *, sides: bool) -> Iterator[str]:
    """What is known to make readers of a board stumble."""
    ranking = made.ranking
    if recipe.method == "elo":
        yield "Elo hangs on the order of votes and on its step: it is a ticker, no ranking (--method bt ranks)."
    if recipe.method == "win-rate":
        yield "A win rate depends on who the opponents were: models that met others do not compare (--method bt does)."
    if not ranking.rows and not made.hidden:
        yield "No two models can be compared: there are no ratings."
    elif ranking.unranked:
        yield f"{_models(len(ranking.unranked))} can't be compared with the others, and no rating is made up for them."
    if made.hidden:
        yield f"{_models(made.hidden)} with fewer than {recipe.min_votes} votes not shown; their votes count."
    few = sum(row.votes < FEW_VOTES for row in ranking.rows)
    if few:
        yield f"{_models(few)} with fewer than {FEW_VOTES} votes: take these intervals as rough."
    wins = cells.counts[:, :2].sum(axis=0)
    decided = int(wins.sum())
    if sides and not recipe.position and decided and abs(2 * wins[0] - decided) > _CLEARLY * decided**0.5:
        share = f"{100 * wins[0] / decided:.1f} %"
        yield f"The left side won {share} of the votes with a winner: chance does not explain that (see --position)."


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"
