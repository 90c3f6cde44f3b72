"""Votes as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from agon.ratings.cells import PairCells
from agon.ratings.tables.columns import Columns


@dataclass(frozen=True, slots=True)
class Votes:
    """N votes on M models. A row of a counted table is one vote with a `count`."""

    models: tuple[str, ...]
    """sorted by name"""
    left: npt.NDArray[np.int64]
    """(N,) index into `models`"""
    right: npt.NDArray[np.int64]
    """(N,) index into `models`"""
    outcome: npt.NDArray[np.int8]
    """(N,) the column in the pair cells: left wins, right wins, tie, both bad"""
    count: npt.NDArray[np.int64] | None
    """(N,) how many votes a row stands for; None where it is one"""
    rows: npt.NDArray[np.int64]
    """(N,) where each vote is in the file, from 1 as the file counts"""
    carried: Mapping[str, pl.Series]
    """name to (N,), the columns that were asked for"""
    columns: Columns
    left_out: Mapping[str, int]
    """why rows are not among the votes, and how many"""
    read: int
    """rows of the file"""

    def cells(self) -> PairCells:
        """Count them. Without a copy of the names: a million votes take some ten milliseconds."""
        m = len(self.models)
        key = (self.left * m + self.right) * 4 + self.outcome
        if self.count is None:
            keys, counts = np.unique(key.astype(np.uint32) if m < 2**15 else key, return_counts=True)
        else:
            keys, at = np.unique(key, return_inverse=True)
            counts = np.bincount(at, self.count, len(keys)).astype(np.int64)
        pairs, place = np.unique(keys // 4, return_inverse=True)
        table = np.zeros((len(pairs), 4), dtype=np.int64)
        table[place, keys % 4] = counts
        pairs = pairs.astype(np.int64)
        return PairCells(self.models, pairs // max(m, 1), pairs % max(m, 1), table)

    def where(self, keep: npt.NDArray[np.bool_]) -> "Votes":
        """Some of the votes, (N,) True for those to keep, on the models that are in them."""
        inside = np.unique(np.concatenate([self.left[keep], self.right[keep]]))
        new = np.zeros(len(self.models), dtype=np.int64)
        new[inside] = np.arange(len(inside))
        return Votes(
            tuple(self.models[i] for i in inside),
            new[self.left[keep]],
            new[self.right[keep]],
            self.outcome[keep],
            None if self.count is None else self.count[keep],
            self.rows[keep],
            {name: series.filter(pl.Series(keep)) for name, series in self.carried.items()},
            self.columns,
            self.left_out,
            self.read,
        )
