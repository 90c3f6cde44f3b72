"""Votes one by one, encoded: what needs more than counts (voters, prompts, style, order) reads these."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.cells import CELL, Array, Codes, Flags, PairCells


@dataclass(frozen=True, slots=True)
class Votes:
    """N votes in the order they came. Voters, prompts and features are further arrays (N,) or (N, F) beside them."""

    models: tuple[str, ...]
    """sorted by name"""
    left: Codes
    """(N,) index into `models`"""
    right: Codes
    """(N,) index into `models`"""
    outcome: Codes
    """(N,) column of the counts: 0 left wins, 1 right wins, 2 tie, 3 both bad"""

    @classmethod
    def encode(cls, left: Sequence[str], right: Sequence[str], outcome: Sequence[str]) -> "Votes":
        """From three columns of words. Raises `InvalidRequest` naming row (from 0) and column of what is wrong."""
        if not len(left) == len(right) == len(outcome):
            raise InvalidRequest(f"columns of {len(left)}, {len(right)} and {len(outcome)} rows are no table")
        models = tuple(sorted({*left, *right}))
        at = {model: i for i, model in enumerate(models)}
        for row, word in enumerate(outcome):
            if word not in CELL:
                raise InvalidRequest(f"row {row}: outcome {word!r} is none of {', '.join(CELL)}", param="outcome")
        votes = cls(
            models,
            np.array([at[model] for model in left], dtype=np.int32),
            np.array([at[model] for model in right], dtype=np.int32),
            np.array([CELL[word] for word in outcome], dtype=np.int8),
        )
        votes.cells()
        return votes

    def __len__(self) -> int:
        return len(self.left)

    def cells(self) -> PairCells:
        """Counted. Raises `InvalidRequest` for a model that meets itself."""
        return PairCells.of_codes(self.models, self.left, self.right, self.outcome)

    def take(self, rows: Codes | Flags) -> "Votes":
        """Some of the votes: indices or a mask; all models stay."""
        return Votes(self.models, self.left[rows], self.right[rows], self.outcome[rows])

    def between(self, models: Sequence[str]) -> tuple["Votes", Flags]:
        """The votes among some models, with only these (sorted) as `models`; and the mask (N,) of the votes kept."""
        keep = sorted(set(models))
        new = np.full(len(self.models), -1, dtype=self.left.dtype)
        known = {model: i for i, model in enumerate(self.models)}
        for i, model in enumerate(keep):
            if model not in known:
                raise InvalidRequest(f"model {model!r} is in no vote", param="model")
            new[known[model]] = i
        left, right = new[self.left], new[self.right]
        inside = (left >= 0) & (right >= 0)
        return Votes(tuple(keep), left[inside], right[inside], self.outcome[inside]), inside

    @property
    def points(self) -> Array:
        """(N,) points of the left model: 1, 0, or 1/2 for a tie and for both bad."""
        return np.array([1.0, 0.0, 0.5, 0.5])[self.outcome]


def checked_weights(votes: Votes, weights: Array | None) -> Array | None:
    """Weights (N,) as they are. Raises `InvalidRequest` naming the row (from 0) of one that is not at least 0."""
    if weights is None:
        return None
    if np.shape(weights) != (len(votes),):
        raise InvalidRequest(f"weights of shape {np.shape(weights)} do not fit {len(votes)} votes", param="weights")
    good = np.isfinite(weights) & (weights >= 0)
    if not good.all():
        row = int(np.argmin(good))
        raise InvalidRequest(f"row {row}: the weight {weights[row]} is no number of at least 0", param="weights")
    return weights


def codes(values: Sequence[object]) -> Codes:
    """(N,) numbers for names, such as voters or prompts: the same name gets the same number, from 0 without gaps."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)
