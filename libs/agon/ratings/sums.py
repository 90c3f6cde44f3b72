"""Votes between each two models, summed up as matrices: what every fit reads."""

from dataclasses import dataclass, replace

import numpy as np

from agon.ratings.cells import Array, PairCells, sum_by
from agon.ratings.votes import Votes, checked_weights


@dataclass(frozen=True, slots=True)
class PairSums:
    """Sums of vote weights between M models; a plain vote weighs 1. All matrices are (M, M) and at least 0.

    The squares are sums of squared weights: the variance of a weighted score needs them. With weights of 1 both are
    the same.
    """

    models: tuple[str, ...]
    wins: Array
    """[i, j]: i's wins over j"""
    ties: Array
    """symmetric: [i, j] and [j, i] both hold the ties of i with j"""
    both_bad: Array
    """symmetric, as `ties`"""
    wins_squared: Array
    ties_squared: Array
    both_bad_squared: Array

    @classmethod
    def of(cls, cells: PairCells) -> "PairSums":
        """Each vote weighs 1, and which model stood left is forgotten."""
        m = len(cells.models)
        pair = cells.left * m + cells.right
        left_wins, right_wins, ties, both_bad = (sum_by(pair, counts, m * m).reshape(m, m) for counts in cells.counts.T)
        wins, tied, bad = left_wins + right_wins.T, ties + ties.T, both_bad + both_bad.T
        return cls(cells.models, wins, tied, bad, wins, tied, bad)

    @classmethod
    def of_votes(cls, votes: Votes, weights: Array) -> "PairSums":
        """Votes one by one, with what each weighs (N,). Raises `InvalidRequest` naming the row of a weight that is
        no number of at least 0."""
        checked_weights(votes, weights)
        m = len(votes.models)
        cell = (votes.outcome.astype(np.int64) * m + votes.left) * m + votes.right

        def matrices(weights: Array) -> tuple[Array, Array, Array]:
            left_wins, right_wins, ties, both_bad = sum_by(cell, weights, 4 * m * m).reshape(4, m, m)
            return left_wins + right_wins.T, ties + ties.T, both_bad + both_bad.T

        return cls(votes.models, *matrices(weights), *matrices(weights**2))

    @property
    def totals(self) -> Array:
        """(M, M) symmetric: the weight of all votes of each pair."""
        total: Array = self.wins + self.wins.T + self.ties + self.both_bad
        return total

    @property
    def votes(self) -> Array:
        """(M, M) symmetric: votes of each pair. Where the weights of a kind differ (a mix of strata), as many equal
        votes as would be worth the same: (sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965)."""
        wins = _votes(self.wins, self.wins_squared)
        votes: Array = (
            wins + wins.T + _votes(self.ties, self.ties_squared) + _votes(self.both_bad, self.both_bad_squared)
        )
        return votes

    @property
    def points(self) -> Array:
        """(M, M) points of the row's model against the column's; a tie and both bad are half a point for each."""
        points: Array = self.wins + (self.ties + self.both_bad) / 2
        return points

    def only(self, members: list[int]) -> "PairSums":
        """The sums among some of the models (sorted indices)."""
        if len(members) == len(self.models):
            return self
        at = np.ix_(members, members)
        same = self.wins is self.wins_squared
        wins, ties, bad = self.wins[at], self.ties[at], self.both_bad[at]
        squares = (
            (wins, ties, bad) if same else (self.wins_squared[at], self.ties_squared[at], self.both_bad_squared[at])
        )
        return PairSums(tuple(self.models[i] for i in members), wins, ties, bad, *squares)

    def times(self, weights: Array) -> "PairSums":
        """Every vote of a pair weighted by `weights` (M, M), symmetric, or by one number as (1, 1)."""
        squares = weights**2
        return PairSums(
            self.models,
            self.wins * weights,
            self.ties * weights,
            self.both_bad * weights,
            self.wins_squared * squares,
            self.ties_squared * squares,
            self.both_bad_squared * squares,
        )

    def both_bad_apart(self) -> "PairSums":
        """Without the votes that found both bad: they say nothing of which is better."""
        nothing = np.zeros_like(self.both_bad)
        return replace(self, both_bad=nothing, both_bad_squared=nothing)

    def both_bad_as_ties(self) -> "PairSums":
        """With every vote that found both bad as a tie."""
        nothing = np.zeros_like(self.both_bad)
        return replace(
            self,
            ties=self.ties + self.both_bad,
            ties_squared=self.ties_squared + self.both_bad_squared,
            both_bad=nothing,
            both_bad_squared=nothing,
        )


def _votes(weights: Array, squares: Array) -> Array:
    if weights is squares:
        return weights
    return np.divide(weights**2, squares, out=np.zeros_like(weights), where=squares > 0)
