"""Ratings from votes: pure functions on arrays.

>>> from agon.ratings import PairCells, rank_models
>>> votes = [("x", "y", "a")] * 3 + [("x", "y", "b")]
>>> ranking = rank_models(PairCells.count(votes))
>>> [(row.model, round(row.rating)) for row in ranking.rows]
[('x', 1095), ('y', 905)]

Votes are counted into `PairCells`, summed up (and weighted) as `PairSums`, fitted to a `Fit`, and read as a `Ranking`.
What changes the covariance of a fit (`clustered`) gives another `Fit`, so every interval follows.
"""

from agon.ratings.bradley_terry import METHOD, Fit, fit, win_matrix
from agon.ratings.cells import CELL, PairCells
from agon.ratings.components import main_component, strong_components
from agon.ratings.intervals import (
    Anchor,
    Difference,
    RankRanges,
    Ratings,
    difference,
    guarded,
    probability_better,
    rank_ranges,
    ratings,
    simultaneous,
)
from agon.ratings.ranking import Ranking, Rated, Unranked, rank_fit, rank_models, split
from agon.ratings.sums import PairSums
from agon.ratings.tie_models import TIE_MODELS, fit_ties, tie_probabilities
from agon.ratings.votes import Votes, codes
from agon.ratings.weighting import uniform_pairs, voter_mix

__all__ = [
    "CELL",
    "METHOD",
    "TIE_MODELS",
    "Anchor",
    "Difference",
    "Fit",
    "PairCells",
    "PairSums",
    "RankRanges",
    "Ranking",
    "Rated",
    "Ratings",
    "Unranked",
    "Votes",
    "codes",
    "difference",
    "fit",
    "fit_ties",
    "guarded",
    "main_component",
    "probability_better",
    "rank_fit",
    "rank_models",
    "rank_ranges",
    "ratings",
    "simultaneous",
    "split",
    "strong_components",
    "tie_probabilities",
    "uniform_pairs",
    "voter_mix",
    "win_matrix",
]
