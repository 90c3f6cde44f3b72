"""The votes of a table, and what the table says beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from agon.ratings.cells import CELL, PairCells
from agon.ratings.tables.columns import Columns
from agon.ratings.votes import Votes


@dataclass(frozen=True, slots=True)
class VoteTable:
    """N rows, each one vote, or as many votes as its `count` says."""

    votes: Votes
    count: npt.NDArray[np.int64] | None
    """(N,) how many votes a row stands for; None where it is one"""
    rows: npt.NDArray[np.uint32]
    """(N,) where each row is in the file, from 1 as the file counts"""
    carried: Mapping[str, pl.Series]
    """name to (N,), the columns that were asked for"""
    columns: Columns
    sides: bool
    """whether left and right are where the answers stood; counts per pair, and lists of wins, don't say"""
    left_out: Mapping[str, int]
    """why rows of the file are not here, and how many"""
    read: int
    """rows of the file"""

    def cells(self) -> PairCells:
        """All votes, counted."""
        votes = self.votes
        if self.count is None:
            return votes.cells()
        m = len(votes.models)
        pair = votes.left.astype(np.int64) * m + votes.right
        seen, which = np.unique(pair, return_inverse=True)
        counts = np.zeros((len(seen), len(CELL)), dtype=np.int64)
        np.add.at(counts, (which, votes.outcome), self.count)
        return PairCells(votes.models, seen // max(m, 1), seen % max(m, 1), counts)

    def take(self, keep: npt.NDArray[np.bool_]) -> "VoteTable":
        """Some of the rows, (N,) True for those to keep; all models stay."""
        return replace(
            self,
            votes=self.votes.take(keep),
            count=None if self.count is None else self.count[keep],
            rows=self.rows[keep],
            carried={name: series.filter(pl.Series(keep)) for name, series in self.carried.items()},
        )
