"""Weights: what the ratings should be an average over, where that is not the votes as they happened to come."""

from collections.abc import Mapping

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.cells import Array, PairCells
from agon.ratings.sums import PairSums
from agon.ratings.votes import Votes

LEAST_PAIR = 50
"""A pair with fewer votes weighs as if it had so many, because the weight of a single vote would be too large."""


def uniform_pairs(votes: PairCells | PairSums) -> PairSums:
    """Weigh each vote by 1 / max(n, 50), n the votes of its pair, so that every pair counts the same.

    Which pairs met was the pairing's choice; with these weights the ratings are those of a uniform choice, also where
    Bradley-Terry is only nearly true (Chatbot Arena, arXiv 2403.04132, equation 8; the floor is arena-rank's). All
    weights are scaled so that they sum to the number of votes.
    """
    sums = votes if isinstance(votes, PairSums) else PairSums.of(votes)
    n = sums.totals
    weights = 1 / np.maximum(n, LEAST_PAIR)
    total = float((weights * n).sum())
    return sums.times(weights * (float(n.sum()) / total)) if total else sums


def pair_weights(votes: Votes) -> Array:
    """(N,) the weights of `uniform_pairs` vote by vote, mean 1: for `fit_style` and `clustered`."""
    m = len(votes.models)
    low, high = np.minimum(votes.left, votes.right), np.maximum(votes.left, votes.right)
    pair = low.astype(np.int64) * m + high
    weights: Array = 1 / np.maximum(np.bincount(pair, minlength=m * m), LEAST_PAIR)[pair]
    return weights / weights.mean() if len(votes) else weights


def voter_mix(strata: Mapping[str, PairCells], shares: Mapping[str, float]) -> PairSums:
    """Post-stratify: weigh the votes of each stratum (a language, a category, a group of voters) to its declared share.

    `shares` are at least 0 and are scaled to sum to 1; each stratum's votes get the weight share * N / n, N all votes,
    n its own (Little, JASA 88, 1993). A stratum with share 0 does not count. Raises `InvalidRequest` for a share
    without votes, votes without a declared share, and shares that do not sum to more than 0.
    """
    total = sum(shares.values())
    if not all(share >= 0 and np.isfinite(share) for share in shares.values()) or not total > 0:
        raise InvalidRequest("shares are numbers of at least 0, and not all 0", param="shares")
    for name in strata:
        if name not in shares and strata[name].votes:
            raise InvalidRequest(f"stratum {name!r} has votes and no declared share", param="shares")
    for name, share in shares.items():
        if share > 0 and (name not in strata or not strata[name].votes):
            raise InvalidRequest(f"stratum {name!r} has a share and no votes", param="shares")
    counted = {name: cells for name, cells in strata.items() if shares.get(name, 0) > 0}
    votes = sum(cells.votes for cells in counted.values())
    models = tuple(sorted({model for cells in counted.values() for model in cells.models}))
    parts = [
        PairSums.of(_with_models(cells, models)).times(np.full((1, 1), shares[name] / total * votes / cells.votes))
        for name, cells in sorted(counted.items())
    ]
    return PairSums(
        models,
        *(
            sum((getattr(part, name) for part in parts[1:]), start=getattr(parts[0], name))
            for name in ("wins", "ties", "both_bad", "wins_squared", "ties_squared", "both_bad_squared")
        ),
    )


def _with_models(cells: PairCells, models: tuple[str, ...]) -> PairCells:
    """The same counts over more models."""
    at = {model: i for i, model in enumerate(models)}
    new = np.array([at[model] for model in cells.models], dtype=np.int64)
    return PairCells(models, new[cells.left], new[cells.right], cells.counts)
