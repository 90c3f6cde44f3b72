"""Pair cells: all that a rating needs to know of any number of votes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from agon.errors import InvalidRequest

Array = npt.NDArray[np.floating[Any]]
Codes = npt.NDArray[np.integer[Any]]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

Outcome = Literal["a", "b", "tie", "both_bad"]

# The column of an outcome in the counts: left wins, right wins, tie, both bad.
CELL: dict[str, int] = {"a": 0, "b": 1, "tie": 2, "both_bad": 3}


# Up to so many ordered pairs a vote is counted into a table of all of them; beyond, pairs are sorted first.
_DENSE_PAIRS = 4_000_000


@dataclass(frozen=True, slots=True)
class PairCells:
    """Counts per ordered pair (which model stood left, which right). P pairs of M models.

    Models are sorted by name and pairs by (left, right), so that the same votes in any order are the same arrays, bit
    by bit, and every number computed from them is too.
    """

    models: tuple[str, ...]
    left: npt.NDArray[np.int64]
    """(P,) index into `models`"""
    right: npt.NDArray[np.int64]
    """(P,) index into `models`"""
    counts: npt.NDArray[np.int64]
    """(P, 4) left wins, right wins, ties, both bad; at least 0"""

    @classmethod
    def count(cls, votes: Iterable[tuple[str, str, str]]) -> "PairCells":
        """Count votes (left model, right model, outcome).

        Raises `InvalidRequest` for an outcome that is none, and for a model that meets itself.
        """
        cells: dict[tuple[str, str], list[int]] = {}
        for left, right, outcome in votes:
            column = CELL.get(outcome)
            if column is None:
                raise InvalidRequest(f"outcome {outcome!r} is none of {', '.join(CELL)}", param="outcome")
            cells.setdefault((left, right), [0, 0, 0, 0])[column] += 1
        return cls.of((left, right, counts) for (left, right), counts in cells.items())

    @classmethod
    def of(cls, cells: Iterable[tuple[str, str, Sequence[int]]]) -> "PairCells":
        """From cells (left model, right model, [left wins, right wins, ties, both bad]), one for each ordered pair.

        Raises `InvalidRequest` for a model that meets itself, a negative count, and a pair that comes twice.
        """
        rows = sorted((left, right, tuple(counts)) for left, right, counts in cells)
        for left, right, counts in rows:
            if left == right:
                raise InvalidRequest(f"model {left!r} can't meet itself", param="model")
            if len(counts) != 4 or min(counts) < 0:
                raise InvalidRequest(f"the cell of {left!r} and {right!r} needs four counts of at least 0: {counts}")
        if len({(left, right) for left, right, _ in rows}) != len(rows):
            raise InvalidRequest("the same ordered pair comes twice: add its counts up first")
        models = tuple(sorted({left for left, _, _ in rows} | {right for _, right, _ in rows}))
        at = {model: i for i, model in enumerate(models)}
        return cls(
            models,
            np.array([at[left] for left, _, _ in rows], dtype=np.int64),
            np.array([at[right] for _, right, _ in rows], dtype=np.int64),
            np.array([counts for _, _, counts in rows], dtype=np.int64).reshape(len(rows), 4),
        )

    @classmethod
    def of_codes(cls, models: Sequence[str], left: Codes, right: Codes, outcome: Codes) -> "PairCells":
        """Count encoded votes: (N,) indices into `models` (unique names, in any order) and (N,) columns of the counts.

        Models without a vote are left out. Raises `InvalidRequest` for a model that meets itself (naming the row,
        from 0), and for a code out of range.
        """
        m = len(models)
        for name, codes, end in (("left", left, m), ("right", right, m), ("outcome", outcome, len(CELL))):
            if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < end:
                raise InvalidRequest(f"a code of {name} is not in 0..{end - 1}", param=name)
        _refuse_meeting_itself(models, left, right)
        if m * m <= _DENSE_PAIRS:
            pair = _flat(left, m, right)
            cell = np.bincount(_flat(pair, len(CELL), outcome), minlength=m * m * len(CELL)).reshape(m * m, len(CELL))
            seen = np.flatnonzero(cell.any(axis=1))
            counts = cell[seen]
        else:
            seen, which = np.unique(left.astype(np.int64) * m + right, return_inverse=True)
            counts = np.bincount(which * len(CELL) + outcome, minlength=len(seen) * len(CELL)).reshape(-1, len(CELL))
        return cls._sorted(models, seen // m, seen % m, counts)

    @classmethod
    def _sorted(cls, models: Sequence[str], left: Codes, right: Codes, counts: Codes) -> "PairCells":
        """With only the models that occur, sorted by name, and the pairs sorted by (left, right)."""
        names = np.array(models, dtype=object)
        used = np.zeros(len(models), dtype=bool)
        used[left] = used[right] = True
        order = sorted(np.flatnonzero(used).tolist(), key=lambda i: str(names[i]))
        new = np.zeros(len(models), dtype=np.int64)
        new[order] = np.arange(len(order))
        left, right = new[left], new[right]
        by_pair = np.argsort(left * len(models) + right)  # one key, each once: half of what two keys take
        return cls(tuple(str(names[i]) for i in order), left[by_pair], right[by_pair], counts[by_pair].astype(np.int64))

    @property
    def votes(self) -> int:
        """All votes."""
        return int(self.counts.sum())

    def votes_per_model(self) -> npt.NDArray[np.int64]:
        """(M,) votes in which each model took part."""
        per_pair = self.counts.sum(axis=1)
        votes = np.zeros(len(self.models), dtype=np.int64)
        np.add.at(votes, self.left, per_pair)
        np.add.at(votes, self.right, per_pair)
        return votes

    def only(self, members: Sequence[int]) -> "PairCells":
        """The cells among some of the models (indices), with only these models; all of them, also without a vote."""
        keep = np.array(sorted(members), dtype=np.int64)
        new = np.full(len(self.models), -1, dtype=np.int64)
        new[keep] = np.arange(len(keep))
        inside = (new[self.left] >= 0) & (new[self.right] >= 0)
        return PairCells(
            tuple(self.models[i] for i in keep),
            new[self.left[inside]],
            new[self.right[inside]],
            self.counts[inside],
        )


def sum_by(codes: Codes, values: Array | Codes, size: int) -> Array:
    """(size,) the sum of `values` (N,) for each code in 0..size-1."""
    return np.bincount(codes, values, size).astype(np.float64, copy=False)


def _flat(major: Codes, width: int, minor: Codes) -> Codes:
    """major * width + minor, without leaving 32 bits where they are enough: the sum is what counting spends time on."""
    kind = np.int32 if major.dtype.itemsize <= 4 and width <= 4096 else np.int64
    at: Codes = np.multiply(major, kind(width), dtype=kind)
    at += minor.astype(kind, copy=False)
    return at


def _refuse_meeting_itself(models: Sequence[str], left: Codes, right: Codes) -> None:
    itself = np.flatnonzero(left == right)
    if len(itself):
        row = int(itself[0])
        raise InvalidRequest(f"row {row}: model {models[left[row]]!r} can't meet itself", param="model")
