"""Ratings from votes: pure functions on arrays.

>>> from agon.ratings import PairCells, rank_models
>>> votes = [("x", "y", "a")] * 3 + [("x", "y", "b")]
>>> ranking = rank_models(PairCells.count(votes))
>>> [(row.model, round(row.rating)) for row in ranking.rows]
[('x', 1095), ('y', 905)]

Votes are counted into `PairCells`, summed up (and weighted) as `PairSums`, fitted to a `Fit`, and read as a `Ranking`.
What changes the covariance of a fit (`clustered`) gives another `Fit`, so every interval follows.
"""

from agon.ratings.abilities import Abilities, voter_abilities
from agon.ratings.bootstrap import Bootstrap, bootstrap
from agon.ratings.bradley_terry import METHOD, Fit, fit, win_matrix
from agon.ratings.cells import CELL, PairCells
from agon.ratings.clusters import clustered, clustered_style
from agon.ratings.components import main_component, strong_components
from agon.ratings.covariates import Covariates
from agon.ratings.elo import AveragedElo, elo, elo_averaged
from agon.ratings.influence import Influence, RemovedVotes, votes_to_dethrone
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
from agon.ratings.selection import Selected, best_of
from agon.ratings.separation import votes_to_separate
from agon.ratings.style import StyleFit, fit_style
from agon.ratings.sums import PairSums
from agon.ratings.text import STYLE, style_of
from agon.ratings.tie_models import TIE_MODELS, fit_ties, tie_probabilities
from agon.ratings.votes import Votes, codes
from agon.ratings.weighting import pair_weights, uniform_pairs, voter_mix
from agon.ratings.win_rates import WinRates, win_rates

__all__ = [
    "CELL",
    "METHOD",
    "STYLE",
    "TIE_MODELS",
    "Abilities",
    "Anchor",
    "AveragedElo",
    "Bootstrap",
    "Covariates",
    "Difference",
    "Fit",
    "Influence",
    "PairCells",
    "PairSums",
    "RankRanges",
    "Ranking",
    "Rated",
    "Ratings",
    "RemovedVotes",
    "Selected",
    "StyleFit",
    "Unranked",
    "Votes",
    "WinRates",
    "best_of",
    "bootstrap",
    "clustered",
    "clustered_style",
    "codes",
    "difference",
    "elo",
    "elo_averaged",
    "fit",
    "fit_style",
    "fit_ties",
    "guarded",
    "main_component",
    "pair_weights",
    "probability_better",
    "rank_fit",
    "rank_models",
    "rank_ranges",
    "ratings",
    "simultaneous",
    "split",
    "strong_components",
    "style_of",
    "tie_probabilities",
    "uniform_pairs",
    "voter_abilities",
    "voter_mix",
    "votes_to_dethrone",
    "votes_to_separate",
    "win_matrix",
    "win_rates",
]
