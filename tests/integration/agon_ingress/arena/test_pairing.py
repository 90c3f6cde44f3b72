"""Pairs that an arena's policy asks for, from what the database knows."""

import random
from datetime import timedelta
from typing import Any

import pytest

from agon.arena.pairing import Uniform
from agon.errors import SetupError
from agon.store.battles import ArenaRow
from agon.store.pool import open_pool
from agon_ingress.arena.pairing import Pairings
from support.board import MODELS, fill

pytestmark = pytest.mark.servers


def arena(**policy: Any) -> ArenaRow:
    return ArenaRow("default", "main", timedelta(0), policy)


async def test_active_pairs_go_by_the_newest_published_run_and_say_so(database_url: str) -> None:
    async with open_pool(database_url, "test") as pool:
        empty = await Pairings(pool).of(arena(pairing={"kind": "active"}))
        assert empty.draw(MODELS, random.Random(1)).probability == pytest.approx(1 / 6)

        await fill(database_url)
        pairings = Pairings(pool)
        active = await pairings.of(arena(pairing={"kind": "active", "rule": "pairs"}))
        pair = active.draw([*MODELS, "brand-new"], random.Random(1))
        assert (pair.policy["as_of"], pair.policy["rule"]) == (245, "pairs")
        assert 0 < pair.probability < 1
        assert await pairings.of(arena(pairing={"kind": "active", "rule": "pairs"})) is active, "kept for a while"
        assert await pairings.of(arena(pairing={"kind": "active"})) is not active, "another policy, another pairing"
        assert isinstance(await pairings.of(arena()), Uniform)
        with pytest.raises(SetupError, match="swiss"):
            await pairings.of(arena(pairing={"kind": "swiss"}))
