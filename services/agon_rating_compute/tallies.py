"""Pair cells in memory, kept in step with the tables: what a refit reads without asking Postgres for all of them.

The tables are the truth. A slice is read from them once; then each batch that this process counts is added to what it
holds, if the batch begins where that ends. Anything else (another process counted, a slice that is new) makes it read
again, so that no crash and no takeover needs a case of its own.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from agon.ratings import PairCells
from agon.store import cells
from agon.store.cells import Cell, Slice
from agon.store.pool import Pool
from agon.store.votes import Arena

MOST_CELLS = 4_000_000
"""Ordered pairs kept in memory, all slices together: some 64 bytes each, and beside them the names."""

SliceChanges = Mapping[tuple[str, str], Sequence[int]]
"""(left, right) -> what to add to the four counts"""


class Tally:
    """The cells of one slice as of `mark`."""

    def __init__(self, mark: int, found: Iterable[Cell]) -> None:
        self.mark = mark
        self._at: dict[tuple[str, str], int] = {}
        self._codes: dict[str, int] = {}
        """Models by when they first came."""
        self._pairs = np.zeros((64, 2), dtype=np.int64)
        """Left's and right's code of each pair, as the pairs came, with room for more; and their counts."""
        self._counts = np.zeros((64, 4), dtype=np.int64)
        self._sides: tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray] | None = None
        """models, left and right (P,) in order, and where each of these pairs is; None when a new pair has come"""
        self._some_gone = False
        """whether a pair may have lost all its votes"""
        for left, right, counts in found:
            at = self._place(left, right)  # which may make room, so it comes first
            self._counts[at] = counts

    def __len__(self) -> int:
        return len(self._at)

    def add(self, changes: SliceChanges, mark: int) -> None:
        """Add counts, which makes it the cells as of `mark`."""
        for (left, right), counts in changes.items():
            at = self._place(left, right)
            self._counts[at] += np.asarray(counts)
            self._some_gone = self._some_gone or min(counts) < 0
        self.mark = mark

    def _place(self, left: str, right: str) -> int:
        at = self._at.get((left, right))
        if at is None:
            at = self._at[left, right] = len(self._at)
            self._sides = None
            if at == len(self._counts):
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
                self._pairs = np.concatenate([self._pairs, np.zeros_like(self._pairs)])
            self._pairs[at] = [self._codes.setdefault(model, len(self._codes)) for model in (left, right)]
        return at

    def cells(self) -> PairCells:
        """As ratings read them: a copy, sorted, without pairs whose votes were all retracted."""
        models, left, right, where = self._sides or self._sorted()
        counts = self._counts[where]
        if self._some_gone and not (voted := counts.any(axis=1)).all():
            left, right = left[voted], right[voted]
            return PairCells(models, left, right, counts[voted]).only(np.union1d(left, right).tolist())
        return PairCells(models, left, right, counts)

    def _sorted(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray]:
        """Find the pairs' order, which holds until a new one comes."""
        models = tuple(sorted(self._codes))
        place = np.zeros(len(models), dtype=np.int64)
        place[[self._codes[model] for model in models]] = np.arange(len(models))
        left, right = place[self._pairs[: len(self._at)]].T
        where = np.argsort(left * len(models) + right)
        self._sides = models, left[where], right[where], where
        return self._sides


class Tallies:
    """The slices that this process refits; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._kept: dict[Slice, Tally] = {}

    def add(self, arena: Arena, before: int, after: int, changes: cells.Changes) -> None:
        """This process has committed the arena's votes behind `before`, up to `after`."""
        by_slice: dict[str, dict[tuple[str, str], Sequence[int]]] = {}
        for (slice, left, right), counts in changes.items():
            by_slice.setdefault(slice, {})[left, right] = counts
        for where, tally in list(self._kept.items()):
            if (where.tenant, where.arena) != arena or tally.mark >= after:
                continue
            if tally.mark == before:
                tally.add(by_slice.get(where.slice, {}), after)
            else:
                del self._kept[where]

    async def read(self, pool: Pool, where: Slice, changed: int) -> tuple[int, PairCells]:
        """The mark and the cells of a slice that last changed with the vote `changed`."""
        tally = self._kept.pop(where, None)
        if tally is None or tally.mark < changed:
            tally = Tally(*await cells.read(pool, where))
        self._kept[where] = tally
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > MOST_CELLS:
            del self._kept[next(iter(self._kept))]
        return tally.mark, tally.cells()
