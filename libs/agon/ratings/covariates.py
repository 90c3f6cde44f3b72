"""Covariates of votes: what besides the models may have moved them, such as length, formatting, or the side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.cells import Array


@dataclass(frozen=True, slots=True)
class Covariates:
    """F columns for N votes; the log-odds of the left answer get `values @ effects` added.

    `centre` and `spread` are what the columns were normalised with: give them again when votes are added, or the
    meaning of the effects moves with every refit.
    """

    names: tuple[str, ...]
    values: Array
    """(N, F)"""
    centre: Array
    """(F,)"""
    spread: Array
    """(F,) above 0"""

    @classmethod
    def of(
        cls, names: Sequence[str], values: Array, *, centre: Array | None = None, spread: Array | None = None
    ) -> "Covariates":
        """Any numeric columns (N, F), each less its mean and divided by its standard deviation, or by those given.

        Raises `InvalidRequest` naming column and row (from 0) of a value that is no finite number, and a column that
        is constant.
        """
        values = np.array(values, dtype=np.float64, order="F")  # each column in one piece, as passes read them
        if values.ndim != 2 or values.shape[1] != len(names):
            raise InvalidRequest(f"{len(names)} names do not fit values of shape {values.shape}")
        with np.errstate(invalid="ignore", over="ignore"):
            means = [column.mean() for column in values.T]
        for name, column, mean in zip(names, values.T, means, strict=True):
            if not (np.isfinite(mean) or np.isfinite(column).all()):  # what is not finite, the mean is not either
                row = int(np.argmin(np.isfinite(column)))
                raise InvalidRequest(f"row {row}: {name} is {column[row]}, no finite number", param=name)
        centre = np.array(means) if centre is None else centre
        values -= centre
        if spread is None:
            spread = np.array([np.sqrt(column @ column / max(len(column), 1)) for column in values.T])
        for name, width in zip(names, spread, strict=True):
            if not width > 1e-12:
                raise InvalidRequest(f"column {name} is the same in every vote: it can't be controlled for", param=name)
        values /= spread
        return cls(tuple(names), values, centre, spread)

    @classmethod
    def of_sides(
        cls,
        names: Sequence[str],
        left: Array,
        right: Array,
        *,
        centre: Array | None = None,
        spread: Array | None = None,
    ) -> "Covariates":
        """From amounts (N, F) of either side, at least 0: (left - right) / (left + right), then normalised.

        0 where neither side has any. This is the field's style control (LMSYS, "Does style matter?", 2024).
        """
        left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
        total = left + right
        share = np.divide(left - right, total, out=np.zeros_like(total), where=total != 0)
        return cls.of(names, share, centre=centre, spread=spread)

    @classmethod
    def position(cls, n: int) -> "Covariates":
        """One column of ones: its effect is the advantage of standing left, in log-odds. Not normalised."""
        return cls(("position",), np.ones((n, 1)), np.zeros(1), np.ones(1))

    def beside(self, other: "Covariates") -> "Covariates":
        """The columns of both. Raises `InvalidRequest` if they are not of the same votes."""
        if len(self.values) != len(other.values):
            raise InvalidRequest(f"covariates of {len(self.values)} and of {len(other.values)} votes do not fit")
        return Covariates(
            self.names + other.names,
            np.asfortranarray(np.hstack([self.values, other.values])),
            np.concatenate([self.centre, other.centre]),
            np.concatenate([self.spread, other.spread]),
        )
