"""Who plays whom, and what binds it."""

import itertools
import random
from collections import Counter

import pytest

from agon.arena.commitment import canonical, commit, digest, new_nonce, opens
from agon.arena.pairing import Uniform, kind_of, named
from agon.arena.votes import vote_id
from agon.errors import SetupError, Unavailable
from agon.messages.base import ID_REGEX

POOL = ["m1", "m2", "m3", "m4"]


def test_every_ordered_pair_is_as_probable_as_every_other() -> None:
    coin = random.Random(1)
    drawn = Counter((pair.model_a, pair.model_b) for pair in (Uniform().draw(POOL, coin) for _ in range(12_000)))
    assert set(drawn) == set(itertools.permutations(POOL, 2))
    assert all(abs(count - 1000) < 5 * 1000**0.5 for count in drawn.values()), drawn


def test_a_draw_says_how_probable_it_was_and_by_which_policy() -> None:
    pair = Uniform().draw(POOL, random.Random(1))
    assert pair.probability == pytest.approx(1 / 6)
    assert pair.policy == {"kind": "uniform", "pool": POOL}
    assert pair.policy_hash == digest({"pool": POOL, "kind": "uniform"})
    assert pair.policy_hash != Uniform().draw(POOL[:3], random.Random(1)).policy_hash


@pytest.mark.parametrize("pool", [[], ["m1"]])
def test_fewer_than_two_models_are_no_battle(pool: list[str]) -> None:
    with pytest.raises(Unavailable, match="two models"):
        Uniform().draw(pool, random.Random(1))


def test_a_named_pair_still_has_random_sides() -> None:
    coin = random.Random(1)
    pairs = [named("x", "y", coin) for _ in range(100)]
    assert {pair.model_a for pair in pairs} == {"x", "y"}
    assert all({pair.model_a, pair.model_b} == {"x", "y"} and pair.probability == 1 for pair in pairs)


def test_a_policy_that_is_not_known_says_so() -> None:
    assert kind_of({}) == "uniform"
    assert kind_of({"kind": "active"}) == "active"
    with pytest.raises(SetupError, match="swiss"):
        kind_of({"kind": "swiss"})


def test_a_commitment_opens_with_its_own_pair_only() -> None:
    nonce = new_nonce()
    bound = commit("b1", "x", "y", "dx", "dy", nonce)
    assert opens(bound, "b1", "x", "y", "dx", "dy", nonce)
    assert not opens(bound, "b1", "y", "x", "dy", "dx", nonce)
    assert not opens(bound, "b2", "x", "y", "dx", "dy", nonce)
    assert not opens(bound, "b1", "x", "y", "dx", "dy", new_nonce())


def test_canonical_json_has_one_form() -> None:
    assert canonical({"b": ["é", 1], "a": None}) == '{"a":null,"b":["é",1]}'.encode()


def test_a_vote_has_one_id_per_battle_turn_and_voter() -> None:
    ids = {vote_id(*about) for about in itertools.product(("t1", "t2"), ("b1", "b2"), (1, 2), ("v1", "v2"))}
    assert len(ids) == 16
    assert all(ID_REGEX.match(each) for each in ids)
    assert vote_id("t", "b", 1, "v") == vote_id("t", "b", 1, "v")
