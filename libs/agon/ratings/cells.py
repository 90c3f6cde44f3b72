"""Pair cells: all that a rating needs to know of any number of votes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from agon.errors import InvalidRequest

Outcome = Literal["a", "b", "tie", "both_bad"]

# The column of an outcome in the counts: left wins, right wins, tie, both bad.
CELL: dict[str, int] = {"a": 0, "b": 1, "tie": 2, "both_bad": 3}


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
