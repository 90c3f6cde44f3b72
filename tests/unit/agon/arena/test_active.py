"""Pairs drawn by what a vote on them would tell."""

import random
from collections import Counter

import numpy as np
import pytest

from agon.arena.active import Active, Estimate, among, from_policy, narrowed_widths
from agon.arena.pairing import Pair
from agon.errors import SetupError, Unavailable

MODELS = ("new", "sure", "surer", "unsure")
VARIANCES = np.array([0.01, 0.005, 0.5])
ESTIMATE = Estimate(
    9, ("sure", "surer", "unsure"), np.array([0.3, 0.0, -0.3]), np.diag(VARIANCES),
    np.array([[0, 90, 3], [90, 0, 4], [3, 4, 0.0]]),
)  # fmt: skip


def test_the_gain_is_what_a_rank_one_update_takes_from_the_standard_errors() -> None:
    rng = np.random.default_rng(5)
    root = rng.normal(size=(4, 4))
    known = Estimate(1, ("a", "b", "c", "d"), rng.normal(size=4), root @ root.T, np.zeros((4, 4)))
    expected = []
    for i in range(4):
        for j in range(i + 1, 4):
            x = np.eye(4)[i] - np.eye(4)[j]
            p = 1 / (1 + np.exp(known.theta[j] - known.theta[i]))
            after = np.linalg.inv(np.linalg.inv(known.covariance) + p * (1 - p) * np.outer(x, x))
            expected.append(np.sqrt(np.diag(known.covariance)).sum() - np.sqrt(np.diag(after)).sum())
    assert narrowed_widths(known) == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["widths", "pairs"])
def test_unsure_models_play_more_and_every_pair_keeps_a_chance(rule: str) -> None:
    active = from_policy({"rule": rule, "explore_percent": 20}, ESTIMATE)
    chances = active.probabilities(MODELS)
    assert chances.sum() == pytest.approx(1)
    assert chances.min() >= 0.2 / 6
    by_pair = dict(zip([(i, j) for i in range(4) for j in range(i + 1, 4)], chances, strict=True))
    assert by_pair[0, 3] > by_pair[1, 2], "the new one against the unsure one tells more than the two sure ones"


def test_draws_come_as_often_as_their_recorded_probability_says() -> None:
    coin = random.Random(7)
    active = Active(estimate=ESTIMATE)
    pairs = [active.draw(MODELS, coin) for _ in range(20_000)]
    drawn = Counter(frozenset((pair.model_a, pair.model_b)) for pair in pairs)
    told = {frozenset((pair.model_a, pair.model_b)): pair.probability for pair in pairs}
    for who, probability in told.items():
        assert drawn[who] / 20_000 == pytest.approx(probability, abs=4 * (probability / 20_000) ** 0.5)
    assert sum(pair.model_a < pair.model_b for pair in pairs) == pytest.approx(10_000, abs=300), "sides by a fair coin"


def test_the_policy_that_is_recorded_says_what_it_went_by() -> None:
    pair = Active("pairs", 15, ESTIMATE).draw(MODELS, random.Random(1))
    assert isinstance(pair, Pair)
    assert dict(pair.policy) == {
        "kind": "active", "rule": "pairs", "explore_percent": 15, "as_of": 9, "pool": list(MODELS),
    }  # fmt: skip
    assert len(pair.policy_hash) == 64


def test_without_a_published_run_it_is_uniform() -> None:
    assert Active().probabilities(MODELS) == pytest.approx([1 / 6] * 6)
    with pytest.raises(Unavailable, match="needs two models"):
        Active().draw(["one"], random.Random(1))


def test_a_model_without_a_rating_is_as_unsure_as_can_be() -> None:
    known = among(ESTIMATE, MODELS)
    assert known.covariance[0, 0] == 4.0
    assert known.covariance[3, 3] == 0.5
    assert known.votes[1, 2] == 90


@pytest.mark.parametrize("wrong", [{"rule": "best"}, {"explore_percent": 0}, {"explore_percent": 10.5}])
def test_a_wrong_policy_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(SetupError):
        from_policy(wrong, None)
