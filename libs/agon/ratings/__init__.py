"""Ratings from votes: pure functions on arrays.

>>> from agon.ratings import PairCells, rank_models
>>> votes = [("x", "y", "a")] * 3 + [("x", "y", "b")]
>>> ranking = rank_models(PairCells.count(votes))
>>> [(row.model, round(row.rating)) for row in ranking.rows]
[('x', 1095), ('y', 905)]
"""

from agon.ratings.bradley_terry import METHOD, Fit, fit
from agon.ratings.cells import CELL, PairCells
from agon.ratings.components import strong_components
from agon.ratings.ranking import Ranking, Rated, Unranked, rank_models

__all__ = [
    "CELL",
    "METHOD",
    "Fit",
    "PairCells",
    "Ranking",
    "Rated",
    "Unranked",
    "fit",
    "rank_models",
    "strong_components",
]
