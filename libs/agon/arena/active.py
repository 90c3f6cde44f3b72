"""Who should play next so that the board becomes sure soonest: pairs drawn by how much a vote would narrow intervals.

`widths` is ours: with V the covariance of the ratings, a vote on pair (i, j) adds information w = p (1 - p) along
x = e_i - e_j, which takes w (V x)(V x)' / (1 + w x'V x) from V (a rank-one update). A pair's weight is what that takes
from the sum of all models' standard errors.

`pairs` is the rule of Chatbot Arena's paper (arXiv 2403.04132): sqrt(S / n) - sqrt(S / (n + 1)), S = p (1 - p) the
variance of a vote on the pair and n its votes, which narrows the entries of the win matrix.

A share of the draws is uniform, so that every pair keeps a chance and no weight of a reweighted board explodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from agon.arena.pairing import Pair, too_few
from agon.errors import SetupError

Rule = Literal["widths", "pairs"]
RULES: tuple[Rule, ...] = ("widths", "pairs")
EXPLORE_PERCENT = 10
UNKNOWN_VARIANCE = 4.0
"""Of the log-odds of a model without a rating: a standard error of 350 points."""

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a published run knows: M models, log-odds (M,), their covariance (M, M), votes of each pair (M, M)."""

    as_of: int
    models: tuple[str, ...]
    theta: Array
    covariance: Array
    votes: Array


@dataclass
class Active:
    """Draws pairs by the rule. Without an estimate (nothing was published) every pair is as probable as every other."""

    rule: Rule = "widths"
    explore_percent: int = EXPLORE_PERCENT
    estimate: Estimate | None = None
    _last: tuple[tuple[str, ...], Array] | None = field(default=None, repr=False)

    def draw(self, pool: Sequence[str], coin: Any) -> Pair:
        """Draw from models of which each is there once. Raises `Unavailable` for fewer than two."""
        models = tuple(sorted(pool))
        if len(models) < 2:
            raise too_few(len(models))
        chances = self.probabilities(models)
        at = min(int(np.searchsorted(np.cumsum(chances), coin.random(), side="right")), len(chances) - 1)
        first, second = (int(side[at]) for side in np.triu_indices(len(models), 1))
        model_a, model_b = coin.sample((models[first], models[second]), 2)
        return Pair(model_a, model_b, float(chances[at]), self._policy(models))

    def probabilities(self, models: tuple[str, ...]) -> Array:
        """(K,) of the K pairs of sorted models, in the order of `np.triu_indices(M, 1)`; they sum to 1."""
        if self._last is None or self._last[0] != models:
            self._last = models, self._probabilities(models)
        return self._last[1]

    def _probabilities(self, models: tuple[str, ...]) -> Array:
        pairs = len(models) * (len(models) - 1) // 2
        uniform: Array = np.full(pairs, 1 / pairs)
        if self.estimate is None:
            return uniform
        known = among(self.estimate, models)
        gains = narrowed_widths(known) if self.rule == "widths" else narrowed_pairs(known)
        explore = self.explore_percent / 100
        chances: Array = (1 - explore) * gains / gains.sum() + explore * uniform
        return chances

    def _policy(self, models: tuple[str, ...]) -> Mapping[str, Any]:
        return {
            "kind": "active",
            "rule": self.rule,
            "explore_percent": self.explore_percent,
            "as_of": 0 if self.estimate is None else self.estimate.as_of,
            "pool": list(models),
        }


def among(estimate: Estimate, models: Sequence[str]) -> Estimate:
    """The estimate of exactly these models; one that it does not know stands at the mean, and is unsure."""
    at = {model: i for i, model in enumerate(estimate.models)}
    m = len(models)
    theta, covariance, votes = np.zeros(m), np.eye(m) * UNKNOWN_VARIANCE, np.zeros((m, m))
    new = [i for i, model in enumerate(models) if model in at]
    old = [at[models[i]] for i in new]
    theta[new] = estimate.theta[old]
    covariance[np.ix_(new, new)] = estimate.covariance[np.ix_(old, old)]
    votes[np.ix_(new, new)] = estimate.votes[np.ix_(old, old)]
    return Estimate(estimate.as_of, tuple(models), theta, covariance, votes)


def narrowed_widths(known: Estimate) -> Array:
    """(K,) what one vote on each pair takes from the sum of the standard errors, log-odds."""
    i, j = np.triu_indices(len(known.models), 1)
    moved = known.covariance[:, i] - known.covariance[:, j]
    information = _spread(known.theta[i] - known.theta[j])
    spread = moved[i, np.arange(len(i))] - moved[j, np.arange(len(j))]
    variance = np.diag(known.covariance)[:, None]
    after = variance - information * moved**2 / (1 + information * np.maximum(spread, 0.0))
    gain: Array = (np.sqrt(np.maximum(variance, 0.0)) - np.sqrt(np.maximum(after, 0.0))).sum(axis=0)
    return np.maximum(gain, 1e-12)


def narrowed_pairs(known: Estimate) -> Array:
    """(K,) what one vote on each pair takes from the standard error of its own entry in the win matrix."""
    i, j = np.triu_indices(len(known.models), 1)
    n = np.maximum(known.votes[i, j], 1.0)
    gain: Array = np.sqrt(_spread(known.theta[i] - known.theta[j])) * (1 / np.sqrt(n) - 1 / np.sqrt(n + 1))
    return gain


def _spread(gap: Array) -> Array:
    """p (1 - p) at a difference of log-odds."""
    p = 1 / (1 + np.exp(-np.clip(gap, -30, 30)))
    spread: Array = p * (1 - p)
    return spread


def from_policy(policy: Mapping[str, Any], estimate: Estimate | None) -> Active:
    """`{"kind": "active", "rule": "widths" | "pairs", "explore_percent": 1 to 100}`; the last two may be left out.

    Raises `SetupError` naming what is wrong."""
    rule, explore = policy.get("rule", "widths"), policy.get("explore_percent", EXPLORE_PERCENT)
    if rule not in RULES:
        raise SetupError(f"the pairing's rule {rule!r} is not known: choose from {', '.join(RULES)}")
    if type(explore) is not int or not 1 <= explore <= 100:
        raise SetupError(f"the pairing's `explore_percent` is an integer from 1 to 100, not {explore!r}")
    return Active(rule, explore, estimate)
