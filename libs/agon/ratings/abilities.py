"""Voters who see it otherwise: m-ELO and am-ELO (arXiv 2505.03475), as a list to look at.

log-odds(left wins) = a_v (theta_left - theta_right): 1 is a voter like all others, 0 votes at random, below 0 is the
other way round. Ratings and abilities are fitted jointly; each ability is shrunk to 1 by a normal prior, or a handful
of votes would make a prodigy or a saboteur. Nobody is excluded by this: taste is no fraud.
"""

from dataclasses import dataclass

import numpy as np

from agon.errors import InvalidRequest
from agon.ratings.bradley_terry import fit
from agon.ratings.cells import Array, Codes, Flags, sum_by
from agon.ratings.quantiles import normal_cdf
from agon.ratings.votes import Votes

LEAST_VOTES = 20
"""Voters with fewer votes keep the ability 1 and are not on the list."""
PRIOR_SPREAD = 0.5
"""The prior's standard deviation of abilities around 1."""

_MOST_ITERATIONS = 200
_SADDLE_STEPS = 40


@dataclass(frozen=True, slots=True)
class Abilities:
    """V voters with enough votes, by rising p-value; and the ratings that weigh each vote by its voter's ability."""

    models: tuple[str, ...]
    theta: Array
    """(M,) log-odds, mean 0"""
    voter: Codes
    """(V,) the voter's code"""
    votes: Codes
    """(V,)"""
    ability: Array
    """(V,) shrunk to 1"""
    error: Array
    """(V,) posterior standard deviation, the ratings held"""
    p_value: Array
    """(V,) that a voter like all others would agree as little (score test of a = 1, one-sided)"""
    flagged: Flags
    """(V,) by Benjamini and Hochberg: of the flagged, the share who vote like all others is expected below `rate`"""
    gradient: float
    """the largest slope of the penalised log-likelihood that is left"""


def voter_abilities(
    votes: Votes,
    voter: Codes,
    *,
    least_votes: int = LEAST_VOTES,
    prior_spread: float = PRIOR_SPREAD,
    rate: float = 0.05,
) -> Abilities:
    """Fit votes whose models form one strong component, with the voter (N,) of each.

    Fisher scoring on ratings and abilities at once; with a prior spread near 0 it is m-ELO (plain Bradley-Terry).
    Raises `InvalidRequest` where there are no finite ratings.
    """
    if len(voter) != len(votes):
        raise InvalidRequest(f"{len(voter)} voters do not fit {len(votes)} votes")
    if not (prior_spread > 0 and 0 < rate < 1 and least_votes >= 1):
        raise InvalidRequest("the prior's spread is above 0, the rate between 0 and 1, the least votes at least 1")
    start = fit(votes.cells())
    if start.models != votes.models:
        raise InvalidRequest("some models have no vote: take the votes between the others first")
    names, counted = np.unique(voter, return_counts=True)
    listed = np.flatnonzero(counted >= least_votes)
    number = np.full(len(names), len(listed))
    number[listed] = np.arange(len(listed))
    data = _Data(votes, number[np.searchsorted(names, voter)], len(listed), prior_spread**-2)

    p_value = data.disagreement(start.theta)
    theta, ability = start.theta, np.ones(len(listed))
    here = data.likelihood(theta, ability)
    for _ in range(_MOST_ITERATIONS):
        gradient, step_theta, step_ability, error = data.step(theta, ability)
        size = 1.0
        while size > 1e-8:
            there = data.likelihood(theta + size * step_theta, ability + size * step_ability)
            if there >= here - 1e-12 * abs(here):
                break
            size /= 2
        theta, ability, here = theta + size * step_theta, ability + size * step_ability, there
        if max(np.abs(step_theta).max(), np.abs(step_ability).max(initial=0.0)) <= 1e-9:
            break
    else:
        raise InvalidRequest("ratings and abilities have no maximum within reach: take a smaller prior spread")
    order = np.argsort(p_value, kind="stable")
    return Abilities(
        votes.models,
        theta - theta.mean(),
        names[listed][order],
        counted[listed][order],
        ability[order],
        error[order],
        p_value[order],
        _discoveries(p_value[order], rate),
        gradient,
    )


def _discoveries(p_value: Array, rate: float) -> Flags:
    """Benjamini & Hochberg (JRSS B 57, 1995): which of the sorted p-values are below the line rate * k / V."""
    v = len(p_value)
    below = np.flatnonzero(p_value <= rate * np.arange(1, v + 1) / max(v, 1))
    return np.arange(v) <= (below[-1] if len(below) else -1)


@dataclass(frozen=True, slots=True)
class _Data:
    votes: Votes
    number: Codes
    """(N,) number of the vote's voter on the list, V for those not on it"""
    v: int
    precision: float

    def _probabilities(self, theta: Array, ability: Array) -> tuple[Array, Array, Array]:
        """(N,) each: the ratings' difference, the ability, P(left wins)."""
        d = theta[self.votes.left] - theta[self.votes.right]
        a = np.append(ability, 1.0)[self.number]
        return d, a, 1 / (1 + np.exp(-np.clip(a * d, -700.0, 700.0)))

    def likelihood(self, theta: Array, ability: Array) -> float:
        d, a, _ = self._probabilities(theta, ability)
        y = self.votes.points
        fits = float(np.sum(y * a * d - np.logaddexp(0, a * d)))
        return fits - self.precision / 2 * float(np.sum((ability - 1) ** 2))

    def step(self, theta: Array, ability: Array) -> tuple[float, Array, Array, Array]:
        """The largest slope, a scoring step for both, and (V,) the abilities' posterior standard deviations.

        The abilities' block of the information is diagonal and is eliminated first (Schur complement).
        """
        m, v = len(theta), self.v
        left, right = self.votes.left, self.votes.right
        d, a, p = self._probabilities(theta, ability)
        residual, curve = self.votes.points - p, p * (1 - p)
        slope = sum_by(left, residual * a, m) - sum_by(right, residual * a, m)
        slope_ability = sum_by(self.number, residual * d, v + 1)[:v] - self.precision * (ability - 1)
        pairs = sum_by(left.astype(np.int64) * m + right, curve * a**2, m * m).reshape(m, m)
        information = -(pairs + pairs.T)
        information[np.diag_indices(m)] = -information.sum(axis=1)
        of_ability = sum_by(self.number, curve * d**2, v + 1)[:v] + self.precision
        at = self.number.astype(np.int64) * m
        mixed = curve * a * d
        cross = (sum_by(at + left, mixed, (v + 1) * m) - sum_by(at + right, mixed, (v + 1) * m)).reshape(v + 1, m)[:v]
        shared = cross / of_ability[:, None]
        reduced = information - cross.T @ shared
        reduced += np.trace(information) / m / m
        step = np.linalg.solve(reduced, slope - shared.T @ slope_ability)
        step -= step.mean()
        largest = max(float(np.abs(slope).max()), float(np.abs(slope_ability).max(initial=0.0)))
        return largest, step, (slope_ability - cross @ step) / of_ability, 1 / np.sqrt(of_ability)

    def disagreement(self, theta: Array) -> Array:
        """(V,) one-sided p-values of a = 1 against less, from the slope there: sum of (y - p) d over a voter's votes.

        A few votes against clear favourites make the slope's lower tail heavier than a normal one, so it is taken from
        the saddlepoint of its cumulants (Lugannani & Rice, Advances in Applied Probability 12, 1980). A vote is a tie
        with the share t of ties among all votes, as far as p leaves room for it.
        """
        d, _, p = self._probabilities(theta, np.ones(self.v))
        y = self.votes.points
        ties = np.minimum(float(np.mean(y == 0.5)), 2 * np.minimum(p, 1 - p))
        chance = np.stack([p - ties / 2, ties, 1 - p - ties / 2])
        value = np.stack([1 - p, 0.5 - p, -p]) * d
        slope = sum_by(self.number, (y - p) * d, self.v + 1)
        t = np.zeros(self.v + 1)
        for _ in range(_SADDLE_STEPS):
            _, first, second = self._cumulants(chance, value, t)
            t = np.clip(t + np.clip((slope - first) / np.maximum(second, 1e-12), -1.0, 1.0), -40.0, 40.0)
        cumulant, _, second = self._cumulants(chance, value, t)
        w = np.sign(t) * np.sqrt(np.maximum(2 * (t * slope - cumulant), 0.0))
        u = t * np.sqrt(second)
        plain = (np.abs(w) < 1e-3) | (np.abs(u) < 1e-3)
        w, u = np.where(plain, 1.0, w), np.where(plain, 1.0, u)
        tail = normal_cdf(w) + np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi) * (1 / w - 1 / u)
        return np.clip(np.where(plain, 0.5, tail), 0.0, 1.0)[: self.v]

    def _cumulants(self, chance: Array, value: Array, t: Array) -> tuple[Array, Array, Array]:
        """(V + 1,) each: the slope's cumulant function at t, and its first two derivatives, summed by voter."""
        weight = chance * np.exp(value * t[self.number])
        total = weight.sum(axis=0)
        mean = (weight * value).sum(axis=0) / total
        spread = (weight * value**2).sum(axis=0) / total - mean**2
        size = self.v + 1
        return (
            sum_by(self.number, np.log(total), size),
            sum_by(self.number, mean, size),
            sum_by(self.number, spread, size),
        )
