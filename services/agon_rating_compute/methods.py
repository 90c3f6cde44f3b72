"""The methods of published runs. Each is a function of a slice's cells and, where counts are not enough, of its votes.

| method             | ratings                                            | intervals                                |
|--------------------|----------------------------------------------------|------------------------------------------|
| `bradley_terry`    | the live board's                                   | sandwich: votes are independent          |
| `reweighted`       | every pair weighs the same, whoever met how often  | sandwich                                 |
| `voter_clustered`  | the live board's                                   | votes of a voter may hang together (CR1) |
| `style_controlled` | length, headers, lists, bold, code and side held   | sandwich                                 |
|                    | equal; of votes whose answers are known            |                                          |
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings import (
    STYLE,
    Covariates,
    PairCells,
    PairSums,
    Ranking,
    Votes,
    clustered,
    codes,
    fit_style,
    rank_fit,
    rank_models,
    split,
    uniform_pairs,
)
from agon.ratings.cells import Array
from agon.ratings.intervals import CENTRE, FEW_VOTES
from agon.ratings.weighting import LEAST_PAIR
from agon.store.ballots import Ballots

_COMMON: Mapping[str, Any] = {"ties": "half", "both_bad": "half", "mean": int(CENTRE), "few_votes": FEW_VOTES}
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "bradley_terry": _COMMON,
    "reweighted": {**_COMMON, "least_pair": LEAST_PAIR},
    "voter_clustered": {**_COMMON, "clusters": "voter", "correction": "CR1"},
    "style_controlled": {**_COMMON, "covariates": [*STYLE, "position"], "ridge": 0},
}
"""What a recount has to know besides the votes."""
FROM_BALLOTS = frozenset({"voter_clustered", "style_controlled"})
"""Methods that need the votes one by one."""


def rank(method: str, cells: PairCells, ballots: Ballots | None) -> Ranking | None:
    """A board by this method; None where it has nothing to say (no answers are known, or too few voters)."""
    if method == "bradley_terry":
        return rank_models(cells)
    if method == "reweighted":
        return rank_models(uniform_pairs(cells))
    if ballots is None or not len(ballots.outcome):
        return None
    return _voter_clustered(cells, ballots) if method == "voter_clustered" else _style_controlled(ballots)


def _voter_clustered(cells: PairCells, ballots: Ballots) -> Ranking | None:
    base = rank_models(cells)
    if base.fit is None:
        return base
    votes, kept = _votes(ballots).between(base.fit.models)
    voters = codes(ballots.voter)[kept]
    if len(np.unique(voters)) < 2:
        return None
    fitted = clustered(base.fit, votes, voters, correction="CR1")
    by_model = {row.model: row.votes for row in base.rows}
    per_model = np.array([by_model[model] for model in fitted.models], dtype=np.float64)
    return rank_fit(fitted, per_model, base.unranked, total=base.votes)


def _style_controlled(ballots: Ballots) -> Ranking | None:
    known = np.flatnonzero(ballots.answered)
    if not len(known):
        return None
    answered = _votes(ballots).take(known)
    members, unranked = split(PairSums.of(answered.cells()))
    if not members:
        return Ranking((), unranked, len(answered), None, {})
    models = answered.cells().models
    votes, kept = answered.between([models[i] for i in members])
    left, right = ballots.style_a[known][kept], ballots.style_b[known][kept]
    total = left + right
    share = np.divide(left - right, total, out=np.zeros_like(total), where=total != 0)
    varied = _independent(share)
    covariates = Covariates.position(len(votes))
    if varied:
        names = [STYLE[i] for i in varied]
        covariates = Covariates.of_sides(names, left[:, varied], right[:, varied]).beside(covariates)
    try:
        fitted = fit_style(votes, covariates)
    except InvalidRequest:
        return None  # too few votes to tell style from the models
    sums = PairSums.of(votes.cells())
    return rank_fit(fitted.fit, sums.totals.sum(axis=1), unranked, total=len(answered))


def _independent(columns: Array) -> list[int]:
    """The columns that are no combination of a constant and those before them: the others explain nothing more."""
    known = np.ones((len(columns), 1)) / np.sqrt(len(columns))
    found = []
    for i, column in enumerate(columns.T):
        rest = column - known @ (known.T @ column)
        size = float(np.linalg.norm(rest))
        if size > 1e-6 * max(float(np.linalg.norm(column)), 1e-12):
            found.append(i)
            known = np.hstack([known, rest[:, None] / size])
    return found


def _votes(ballots: Ballots) -> Votes:
    return Votes.encode(ballots.left, ballots.right, ballots.outcome)
