"""What boards need of single votes, where counts are not enough: groups, weights, clusters, covariates."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from agon.cli.rank.recipe import Recipe
from agon.errors import InvalidRequest
from agon.ratings import Covariates, PairCells, PairSums, Votes, style_of, uniform_pairs
from agon.ratings.cells import Array, Codes
from agon.ratings.tables import VoteTable, answers
from agon.ratings.text import STYLE


def groups(table: VoteTable, name: str) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """The values of a carried column and the rows (N,) of each; of each member, where it holds lists."""
    series = table.carried[name]
    if series.dtype == pl.Struct:
        raise InvalidRequest(f"column {name!r} holds objects: name one of words or of lists of words", param=name)
    told = pl.DataFrame({"row": np.arange(len(series)), "value": series})
    told = told.explode("value") if series.dtype == pl.List else told
    told = told.drop_nulls().with_columns(pl.col("value").cast(pl.String)).sort("value", "row")
    made = []
    for (value,), part in told.group_by("value", maintain_order=True):
        keep = np.zeros(len(series), dtype=np.bool_)
        keep[part["row"].to_numpy()] = True
        made.append((str(value), keep))
    return made


def rows_of(table: VoteTable, models: Sequence[str], *, apart: bool) -> tuple[Votes, Codes]:
    """The single votes among some models, and the table's row (N,) of each; counted rows are written out."""
    at: Codes = np.arange(len(table.votes))
    if table.count is not None:
        at = np.repeat(at, table.count)
    if apart:
        at = at[table.votes.outcome[at] != 3]
    votes, kept = table.votes.take(at).between(models)
    return votes, at[kept]


def weights(table: VoteTable, cells: PairCells, votes: Votes, at: Codes, recipe: Recipe) -> Array:
    """(N,) what each vote weighs."""
    if recipe.weight:
        return weights_of(table, recipe.weight)[at]
    if recipe.mix:
        total = sum(recipe.shares.values())
        weight = np.zeros(len(table.votes))
        for value, keep in groups(table, recipe.mix):
            weight[keep] = recipe.shares.get(value, 0.0) / total * len(keep) / keep.sum()
        return weight[at]
    counts = PairSums.of(cells)
    ratio = np.divide(
        uniform_pairs(cells).totals, counts.totals, out=np.zeros_like(counts.totals), where=counts.totals > 0
    )
    place = np.searchsorted(np.array(cells.models), np.array(votes.models))
    weight_of: Array = ratio[place[votes.left], place[votes.right]]
    return weight_of


def weights_of(table: VoteTable, name: str) -> Array:
    """(N,) a column of weights. Raises `InvalidRequest` naming row and column of what is none, and where all are 0."""
    values = _numbers(table, name, "--weight")
    if len(values) and values.min() < 0:
        row = int(table.rows[int(np.argmin(values))])
        raise InvalidRequest(f"row {row}, column {name}: a weight of {values.min():g}: --weight needs at least 0")
    if not values.any():
        raise InvalidRequest(f"column {name}: all weights are 0", param=name)
    return values


def cluster(table: VoteTable, name: str) -> Codes:
    """(N,) a number for each row's cluster. Raises `InvalidRequest` naming the row of a missing one."""
    series = table.carried[name]
    if series.null_count():
        row = int(table.rows[int(series.is_null().arg_max() or 0)])
        raise InvalidRequest(f"row {row}: no {name}: --cluster needs one for each vote", param=name)
    return series.cast(pl.String).rank("dense").cast(pl.Int64).to_numpy()


def covariates(table: VoteTable, at: Codes, recipe: Recipe) -> Covariates:
    """The columns that the recipe controls for, of the votes in these rows."""
    parts = []
    for item in recipe.style:
        if item == "text":
            left, right = (_texts(table, name)[at] for name in ("left_text", "right_text"))
            told: npt.NDArray[np.bool_] = np.any(
                [left.any(axis=0), right.any(axis=0)], axis=0
            )  # what no answer has can't matter
            names = [name for name, there in zip(STYLE, told, strict=True) if there]
            parts.append(Covariates.of_sides(names, left[:, told], right[:, told]))
        elif "," in item:
            left, right = (_numbers(table, name)[at][:, None] for name in item.split(",", 1))
            parts.append(Covariates.of_sides([item.split(",")[0]], left, right))
        else:
            parts.append(Covariates.of([item], _numbers(table, item)[at][:, None]))
    if recipe.position:
        parts.append(Covariates.position(len(at)))
    made = parts[0]
    for part in parts[1:]:
        made = made.beside(part)
    return made


def _numbers(table: VoteTable, name: str, option: str = "--style") -> Array:
    """(N,) Raises `InvalidRequest` naming row and column of what is no number."""
    values = table.carried[name].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    if not np.isfinite(values).all():
        row = int(table.rows[int(np.argmin(np.isfinite(values)))])
        raise InvalidRequest(f"row {row}, column {name}: no number: {option} needs one for each vote", param=name)
    return np.asarray(values, dtype=np.float64)


def _texts(table: VoteTable, name: str) -> Array:
    """(N, 5) what can be seen of the answers' style; a conversation's answers are taken together."""
    return style_of(answers(table.carried[name], name))
