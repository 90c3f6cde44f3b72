"""Voters who see it otherwise."""

import numpy as np
import pytest
from scipy.optimize import minimize

from agon.errors import InvalidRequest
from agon.ratings import Votes, fit, voter_abilities
from support.real_votes import llmfao


def crowd(abilities: list[float], each: int, seed: int, m: int = 8) -> tuple[Votes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    theta = np.linspace(-1.2, 1.2, m)
    voter = np.repeat(np.arange(len(abilities)), each)
    left = rng.integers(0, m, len(voter))
    right = (left + rng.integers(1, m, len(voter))) % m
    p = 1 / (1 + np.exp(-np.array(abilities)[voter] * (theta[left] - theta[right])))
    return (
        Votes(tuple(f"m{i}" for i in range(m)), left, right, np.where(rng.random(len(voter)) < p, 0, 1)),
        voter,
        theta,
    )


def test_scipy_finds_the_same_joint_maximum() -> None:
    votes, voter, _ = crowd([1, 1, 0.2, -0.5, 1.5], 120, seed=1, m=4)
    ours = voter_abilities(votes, voter)

    def loss(x: np.ndarray) -> float:
        theta = np.concatenate([[0.0], x[:3]])
        a = x[3:]
        d = a[voter] * (theta[votes.left] - theta[votes.right])
        return float(np.sum(np.logaddexp(0, d) - votes.points * d) + np.sum((a - 1) ** 2) / (2 * 0.25))

    found = minimize(loss, np.concatenate([np.zeros(3), np.ones(5)]), method="BFGS", options={"gtol": 1e-6}).x
    theta = np.concatenate([[0.0], found[:3]])
    assert ours.theta == pytest.approx(theta - theta.mean(), abs=1e-5)
    assert ours.ability[np.argsort(ours.voter)] == pytest.approx(found[3:], abs=1e-5)
    assert ours.gradient < 1e-6


def test_the_contrary_and_the_random_are_found_among_many() -> None:
    votes, voter, theta = crowd([1.0] * 60 + [0.0] * 3 + [-1.0] * 3, 80, seed=2)
    found = voter_abilities(votes, voter)
    flagged = set(found.voter[found.flagged].tolist())
    assert {60, 61, 62, 63, 64, 65} <= flagged
    assert len(flagged) <= 8
    by_voter = dict(zip(found.voter.tolist(), found.ability.tolist(), strict=True))
    assert max(by_voter[v] for v in (63, 64, 65)) < 0 < min(by_voter[v] for v in range(60))
    assert np.abs(found.theta - theta).max() < np.abs(fit(votes.cells()).theta - theta).max()


def test_a_crowd_of_one_mind_is_rarely_accused() -> None:
    """Benjamini and Hochberg: with nobody to find, a list with anybody on it should come in 5 % of the worlds."""
    accused = [bool(voter_abilities(*crowd([1.0] * 40, 30, seed=s)[:2]).flagged.any()) for s in range(100)]
    assert sum(accused) <= 11  # 5 expected; 11 or fewer in 99 % of such hundreds


def test_few_votes_make_nobody_a_saboteur() -> None:
    votes, voter, _ = crowd([1.0] * 20 + [-1.0], 60, seed=3)
    few = np.flatnonzero(voter == 20)[19:]
    keep = np.ones(len(votes), dtype=bool)
    keep[few] = False
    found = voter_abilities(votes.take(keep), voter[keep])
    assert 20 not in found.voter
    assert 20 in voter_abilities(votes.take(keep), voter[keep], least_votes=19).voter


def test_abilities_are_shrunk_to_one() -> None:
    votes, voter, _ = llmfao()
    loose, tight = (voter_abilities(votes, voter, prior_spread=spread) for spread in (1.0, 0.05))
    assert np.abs(tight.ability - 1).max() < 0.3 * np.abs(loose.ability - 1).max()
    assert voter_abilities(votes, voter, prior_spread=1e-6).theta == pytest.approx(fit(votes.cells()).theta, abs=1e-6)


def test_the_list_is_sorted_and_the_flagged_come_first() -> None:
    votes, voter, _ = llmfao()
    found = voter_abilities(votes, voter)
    assert (np.diff(found.p_value) >= 0).all()
    assert found.flagged[: found.flagged.sum()].all()
    assert 3 <= found.flagged.sum() <= 15
    assert (found.votes >= 20).all()
    assert found.ability[:3].max() < 0.1  # three real workers voted at random or the other way round


def test_input_that_fits_nothing_is_refused() -> None:
    votes, voter, _ = llmfao()
    with pytest.raises(InvalidRequest, match="do not fit"):
        voter_abilities(votes, voter[:-1])
    for bad in ({"prior_spread": 0.0}, {"rate": 1.0}, {"least_votes": 0}):
        with pytest.raises(InvalidRequest, match="above 0"):
            voter_abilities(votes, voter, **bad)


def test_without_enough_votes_the_list_is_empty() -> None:
    votes = Votes.encode(["x", "y", "x"], ["y", "x", "y"], ["a", "a", "tie"])
    found = voter_abilities(votes, np.array([0, 1, 2]))
    assert len(found.voter) == 0
    assert found.theta == pytest.approx(fit(votes.cells()).theta)
