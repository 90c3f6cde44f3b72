"""From a file to votes; what can't be a vote is an error that names its place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from agon.errors import InvalidRequest
from agon.ratings.cells import CELL
from agon.ratings.tables.columns import Columns, understand
from agon.ratings.tables.files import Table, first_line, scan
from agon.ratings.tables.outcomes import UNKNOWN, columns_of
from agon.ratings.tables.times import moments
from agon.ratings.tables.votes import VoteTable
from agon.ratings.votes import Votes

# Names that no file has, for the columns made here.
_ROW, _LEFT, _RIGHT, _WORD, _COUNT, _ID, _TIME, _BLIND = (f"\0{n}" for n in range(8))
_CARRIED = "\0carried "

ROLES = frozenset({"voter", "prompt", "left_text", "right_text"})
"""Roles that can be carried by their name."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Question:
    """What to read of a file."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """role to column, where the user says so"""
    words: Mapping[str, str] = field(default_factory=dict)
    """outcome words that the user explains"""
    carry: Sequence[str] = ()
    """what else is wanted: roles (`voter`, `prompt`, `left_text`, `right_text`), or columns by their names"""
    in_time: bool = False
    """sort the votes by time, where a column is known to hold it"""
    since: datetime | None = None
    """the first moment that counts"""
    until: datetime | None = None
    """the first moment that does not"""
    skip: bool = False
    """leave rows out that are no votes, instead of refusing the file"""
    named: bool = False
    """count votes too that were cast with the names of the models in sight"""


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Rows that are no votes: which (N,), in which column, in a word, and what is wrong with one of them."""

    rows: Mask
    column: str
    reason: str
    what: Callable[[int], str]


def read(source: str, question: Question) -> VoteTable:
    """The votes of a file, a folder of files, or `-` for standard input.

    Raises `InvalidRequest` for what is no table of votes, naming row and column, and `OSError` for a file that can't be
    opened.
    """
    return _read(scan(source), source, question)


def from_frame(frame: pl.DataFrame | pl.LazyFrame, question: Question | None = None) -> VoteTable:
    """The votes of a polars frame, whose rows count from 0. Raises `InvalidRequest` as `read` does.

    >>> import polars as pl
    >>> frame = pl.DataFrame({"model_a": ["x", "y"], "model_b": ["y", "x"], "winner": ["model_a", "tie"]})
    >>> from_frame(frame).votes.models
    ('x', 'y')
    """
    lazy = frame.lazy()
    table = Table(lazy, "frame", tuple(lazy.collect_schema().names()), first_row=0)
    return _read(table, "the frame", question or Question())


def _read(table: Table, source: str, question: Question) -> VoteTable:
    told = {**({"count": "votes"} if table.kind == "counts" else {}), **question.columns}
    frame, columns = understand(table.frame.with_row_index(_ROW), table.names, told)
    for name in question.carry:
        if name in ROLES and getattr(columns, name) is None:
            option = name.replace("_", "-")
            raise InvalidRequest(f"{source}: which column is the {option}? Say --{option} COLUMN", param=name)
        if name not in ROLES and name not in table.names:
            raise InvalidRequest(f"{source} has no column {name!r}: the columns are {', '.join(table.names)}")
    models, words = pl.Categories.random(), pl.Categories.random()
    rows = _collect(frame, _wanted(frame, columns, question, models, words), table, source)
    left_out: dict[str, int] = {}
    read_rows = rows.height
    rows = _within(rows, columns, question, left_out)
    names = models.to_series().to_list()
    outcome = _outcomes(rows, words.to_series().to_list(), names, question.words)
    flaws = _flaws(rows, outcome, columns, models, table)
    if flaws:
        bad = np.zeros(rows.height, dtype=np.bool_)
        for flaw in flaws:
            left_out[flaw.reason] = left_out.get(flaw.reason, 0) + int((flaw.rows & ~bad).sum())
            bad |= flaw.rows
        if not question.skip:
            raise _refusal(source, table, rows, flaws, bad)
        rows, outcome = rows.filter(pl.Series(~bad)), outcome[~bad]
    if question.in_time and _TIME in rows.columns:
        order = rows.select(pl.arg_sort_by(_TIME, maintain_order=True)).to_series()
        rows, outcome = rows[order], outcome[order.to_numpy()]
    return _votes(rows, outcome, names, columns, table, question, left_out, read_rows)


def _wanted(
    frame: pl.LazyFrame, columns: Columns, question: Question, models: pl.Categories, words: pl.Categories
) -> dict[str, pl.Expr]:
    schema = frame.collect_schema()

    def text(column: str) -> pl.Expr:
        kind = schema[column]
        if kind.is_nested():
            raise InvalidRequest(f"column {column!r} holds lists or objects, not words: name another column")
        value = pl.col(column).fill_nan(None) if kind.is_float() else pl.col(column)
        return value if kind == pl.String else value.cast(pl.String)

    def code(column: str, categories: pl.Categories) -> pl.Expr:
        return text(column).cast(pl.Categorical(categories))

    wanted = {
        _ROW: pl.col(_ROW),
        _LEFT: code(columns.left, models),
        _RIGHT: code(columns.right, models),
        _WORD: code(columns.outcome, words),
    }
    if columns.count is not None:
        wanted[_COUNT] = pl.col(columns.count).cast(pl.Float64, strict=False)
    if columns.id is not None:
        wanted[_ID] = text(columns.id)
    if columns.named is not None and not question.named:
        wanted[_BLIND] = ~text(columns.named).str.to_lowercase().is_in(["false", "0"])
    period = question.since is not None or question.until is not None
    if period and columns.time is None:
        raise InvalidRequest("no column is known to hold the time of a vote: name it with --time COLUMN")
    if columns.time is not None and (period or question.in_time):
        wanted[_TIME] = moments(columns.time, schema[columns.time])
    carried = {name: getattr(columns, name) if name in ROLES else name for name in question.carry}
    return wanted | {_CARRIED + name: pl.col(column) for name, column in carried.items()}


def _collect(frame: pl.LazyFrame, wanted: Mapping[str, pl.Expr], table: Table, source: str) -> pl.DataFrame:
    try:
        return frame.select(**wanted).collect()
    except pl.exceptions.PolarsError as error:
        raise InvalidRequest(f"{source} can't be read as {table.kind}: {first_line(error)}") from error


def _within(rows: pl.DataFrame, columns: Columns, question: Question, left_out: dict[str, int]) -> pl.DataFrame:
    """Without the votes that nobody asked for."""
    if _BLIND in rows.columns:
        blind = rows[_BLIND].fill_null(True)
        left_out["models named"] = rows.height - int(blind.sum())
        rows = rows.filter(blind)
    if _TIME in rows.columns:
        inside = pl.Series(np.ones(rows.height, dtype=np.bool_))
        if question.since is not None:
            inside &= rows[_TIME] >= question.since
        if question.until is not None:
            inside &= rows[_TIME] < question.until
        inside = inside.fill_null(True)  # a vote without a time is a flaw, told with its row
        left_out["outside the time"] = rows.height - int(inside.sum())
        rows = rows.filter(inside)
    return rows


def _outcomes(
    rows: pl.DataFrame, words: Sequence[str], models: Sequence[str], told: Mapping[str, str]
) -> npt.NDArray[np.int8]:
    """(N,) the column of each vote in the cells, `UNKNOWN` where its word is not known."""
    of_word = np.append(columns_of(words, told), np.int8(UNKNOWN))
    at = _codes(rows[_WORD], len(words))
    outcome: npt.NDArray[np.int8] = of_word.take(at)
    if (outcome == UNKNOWN).any():  # some sets name the winner itself
        place = {model: i for i, model in enumerate(models)}
        winner = np.array([*(place.get(word, -1) for word in words), -1])[at]
        for column, side in ((_LEFT, "a"), (_RIGHT, "b")):
            outcome[(outcome == UNKNOWN) & (winner >= 0) & (winner == _codes(rows[column], len(models)))] = CELL[side]
    return outcome


def _codes(series: pl.Series, missing: int) -> npt.NDArray[np.uint32]:
    """(N,) the codes of a categorical column, without a copy where nothing is missing."""
    return series.to_physical().fill_null(missing).to_numpy()


def _flaws(
    rows: pl.DataFrame,
    outcome: npt.NDArray[np.int8],
    columns: Columns,
    models: pl.Categories,
    table: Table,
) -> list[_Flaw]:
    """What makes rows no votes, the plainest first: only what there is."""
    names = [*models.to_series().to_list(), ""]
    left, right = (_codes(rows[side], len(names) - 1) for side in (_LEFT, _RIGHT))
    empty = np.flatnonzero([not name.strip() for name in names])
    flaws = [
        _Flaw(np.isin(left, empty), columns.left, "no model", lambda at: "no model is named"),
        _Flaw(np.isin(right, empty), columns.right, "no model", lambda at: "no model is named"),
        _Flaw(left == right, columns.right, "met itself", lambda at: f"model {names[left[at]]!r} can't meet itself"),
    ]

    def no_outcome(at: int) -> str:
        word = rows[_WORD][at]
        if word is None:
            return "no outcome"
        return f"{word!r} is no known outcome; if it means one, say for example --word {word!r}=tie"

    flaws.append(_Flaw(outcome == UNKNOWN, columns.outcome, "no known outcome", no_outcome))
    if _TIME in rows.columns:
        unreadable = rows[_TIME].is_null().to_numpy()
        flaws.append(_Flaw(unreadable, str(columns.time), "no time", lambda at: "no time that can be read"))
    if _COUNT in rows.columns:
        count = rows[_COUNT].fill_null(float("nan")).to_numpy()
        uncountable = ~((count >= 0) & (count == np.floor(count)) & (count < 2**53))
        flaws.append(_Flaw(uncountable, str(columns.count), "no count", lambda at: "no whole number of at least 0"))
    if _ID in rows.columns:
        ids = rows[_ID]
        again = (~ids.is_first_distinct() & ids.is_not_null()).to_numpy()

        def first(at: int) -> str:
            before = table.row(int(rows[_ROW][int((ids == ids[at]).arg_max() or 0)]))
            return f"vote {ids[at]!r} was already in row {before}"

        flaws.append(_Flaw(again, str(columns.id), "vote id again", first))
    return [flaw for flaw in flaws if flaw.rows.any()]


def _refusal(source: str, table: Table, rows: pl.DataFrame, flaws: Sequence[_Flaw], bad: Mask) -> InvalidRequest:
    at = int(np.argmax(bad))
    flaw = next(flaw for flaw in flaws if flaw.rows[at])
    more = int(bad.sum()) - 1
    others = f" ({more} more row{'s are' if more > 1 else ' is'} no vote either)" if more else ""
    return InvalidRequest(
        f"{source}, row {table.row(int(rows[_ROW][at]))}, column {flaw.column}: {flaw.what(at)}{others}; "
        "--skip leaves such rows out",
        param=flaw.column,
    )


def _votes(
    rows: pl.DataFrame,
    outcome: npt.NDArray[np.int8],
    names: Sequence[str],
    columns: Columns,
    table: Table,
    question: Question,
    left_out: Mapping[str, int],
    read_rows: int,
) -> VoteTable:
    """Models sorted by name, and only those that have a vote."""
    left, right = _codes(rows[_LEFT], 0), _codes(rows[_RIGHT], 0)
    seen = np.zeros(len(names), dtype=np.bool_)
    seen[left] = seen[right] = True
    order = sorted(np.flatnonzero(seen).tolist(), key=lambda code: names[code])
    new = np.zeros(len(names), dtype=np.int32)
    new[order] = np.arange(len(order))
    return VoteTable(
        votes=Votes(tuple(names[code] for code in order), new.take(left), new.take(right), outcome),
        count=rows[_COUNT].cast(pl.Int64).to_numpy() if _COUNT in rows.columns else None,
        rows=rows[_ROW].to_numpy() + np.uint32(table.first_row),
        carried={name: rows[_CARRIED + name].alias(name) for name in question.carry},
        columns=columns,
        sides=columns.sides and table.kind != "counts",
        left_out={reason: n for reason, n in left_out.items() if n},
        read=read_rows,
    )
