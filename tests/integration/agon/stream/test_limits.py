"""Limits of keys, in Redis: as many pass as may, what is reserved is settled, what nobody settles comes back."""

import asyncio
import random
import time
from datetime import timedelta
from importlib.resources import files

import pytest
from redis.asyncio import Redis

from agon.api_keys import ApiKey, Limits, mint
from agon.messages import now
from agon.stream.connection import connect
from agon.stream.limits import RateLimits
from agon.topics import Keys
from support.waiting import PATIENCE

pytestmark = pytest.mark.servers

LEASE = timedelta(milliseconds=200)


@pytest.fixture
async def redis(redis_url: str) -> Redis:  # type: ignore[misc]
    client = connect(redis_url, patience=timedelta(seconds=30))
    yield client
    await client.aclose()


@pytest.fixture
def limits(redis: Redis, key_prefix: str) -> RateLimits:
    return RateLimits(redis, Keys(key_prefix), timedelta(seconds=20))


def key(limits: Limits) -> ApiKey:
    return ApiKey(mint()[0], "team", "t", bytes(32), now(), limits=limits)


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        (Limits(requests_per_minute=50), "requests"),
        (Limits(concurrency=50), "concurrency"),
        (Limits(tokens_per_minute=500), "tokens"),
        (Limits(budget_tokens=500), "budget"),
    ],
)
async def test_of_200_at_once_exactly_50_pass(limits: RateLimits, given: Limits, refused: str) -> None:
    mine = key(given)
    told = await asyncio.gather(*(limits.reserve(mine, f"r{n}", 10, 0, sure=True) for n in range(200)))
    passed = [one for one in told if one.refused is None]
    assert len(passed) == 50
    assert {one.refused for one in told} - {None} == {refused}
    if refused == "requests":
        assert sorted(one.requests_left for one in passed) == list(range(50))
        assert all(timedelta(seconds=50) < one.wait <= timedelta(seconds=60) for one in told if one.refused)
    if refused == "tokens":
        assert sorted(one.tokens_left for one in passed) == list(range(0, 500, 10))


async def test_what_a_request_has_needed_takes_the_place_of_what_was_reserved(limits: RateLimits) -> None:
    mine = key(Limits(tokens_per_minute=100, budget_tokens=1000))
    assert (await limits.reserve(mine, "a", 90, 0, sure=True)).tokens_left == 10
    assert (await limits.reserve(mine, "b", 11, 0, sure=True)).refused == "tokens"
    assert await limits.settle(mine, "a", 30) == 30
    told = await limits.reserve(mine, "c", 60, 0, sure=True)
    assert (told.refused, told.tokens_left, told.spent, told.held) == (None, 10, 30, 0)


async def test_a_budget_holds_back_what_running_requests_may_still_need(limits: RateLimits) -> None:
    mine = key(Limits(budget_tokens=100))
    assert (await limits.reserve(mine, "a", 60, 0, sure=True)).refused is None
    told = await limits.reserve(mine, "b", 60, 0, sure=True)
    assert (told.refused, told.spent, told.held) == ("budget", 0, 60)
    assert await limits.settle(mine, "a", 20) == 20
    assert (await limits.reserve(mine, "b", 60, 0, sure=True)).refused is None
    assert await limits.settle(mine, "b", 80) == 100
    assert (await limits.reserve(mine, "c", 1, 0, sure=True)).refused == "budget"


async def test_what_is_known_to_be_spent_counts_where_redis_has_forgotten_it(limits: RateLimits, redis: Redis) -> None:
    mine = key(Limits(budget_tokens=100))
    assert (await limits.reserve(mine, "a", 50, 0)).refused == "unknown"
    told = await limits.reserve(mine, "a", 50, 51, sure=True)
    assert (told.refused, told.spent) == ("budget", 51)
    assert (await limits.reserve(mine, "a", 49, 3)).spent == 51


async def test_calls_that_are_repeated_count_once(limits: RateLimits) -> None:
    mine = key(Limits(requests_per_minute=2, tokens_per_minute=100, concurrency=1, budget_tokens=100))
    for _ in range(2):
        told = await limits.reserve(mine, "a", 40, 0, sure=True)
        assert (told.refused, told.requests_left, told.tokens_left) == (None, 1, 60)
    for _ in range(2):
        assert await limits.settle(mine, "a", 10) == 10


async def test_what_a_dead_process_held_comes_back_and_what_lives_stays(redis: Redis, key_prefix: str) -> None:
    limits = RateLimits(redis, Keys(key_prefix), LEASE)
    mine = key(Limits(concurrency=2, budget_tokens=100))
    assert (await limits.reserve(mine, "dead", 40, 0, sure=True)).refused is None
    assert (await limits.reserve(mine, "alive", 40, 0, sure=True)).refused is None
    assert (await limits.reserve(mine, "more", 10, 0, sure=True)).refused == "concurrency"
    async with asyncio.timeout(60):
        while (told := await limits.reserve(mine, "more", 10, 0, sure=True)).refused is not None:
            await limits.renew(mine, {"alive": 40})
            await asyncio.sleep(0.02)
    assert told.held == 40
    # A process that slept longer than its lease takes up again what it had.
    await limits.renew(mine, {"dead": 40, "alive": 40, "more": 10})
    assert (await limits.reserve(mine, "last", 1, 0, sure=True)).refused == "concurrency"
    assert await limits.settle(mine, "dead", 7) == 7


async def test_the_requests_of_a_dead_process_are_told_once_and_never_counted_twice(
    redis: Redis, key_prefix: str
) -> None:
    limits = RateLimits(redis, Keys(key_prefix), LEASE)
    mine = key(Limits(budget_tokens=100))
    assert (await limits.reserve(mine, "dead", 40, 0, sure=True, requests=("r-1", "r-2"))).lost == ()
    async with asyncio.timeout(60):
        while not (told := await limits.reserve(mine, "other", 1, 0)).lost:
            await limits.renew(mine, {"other": 1})
            await asyncio.sleep(0.02)
    assert told.lost == ("r-1", "r-2")
    # It had slept: whoever was told counts its requests, and what it says itself changes nothing.
    await limits.renew(mine, {"dead": 40, "other": 1})
    assert await limits.settle(mine, "dead", 40) == 0
    assert (await limits.reserve(mine, "more", 1, 0)).lost == ()
    assert await limits.settle(mine, "other", 1) == 1


async def test_keys_and_tenants_do_not_share_and_everything_ends(
    limits: RateLimits, redis: Redis, key_prefix: str
) -> None:
    one, other = key(Limits(requests_per_minute=1)), key(Limits(requests_per_minute=1))
    for mine in (one, other):
        assert (await limits.reserve(mine, "a", 1, 0, sure=True)).refused is None
        for name in Keys(key_prefix).limits(mine.tenant, mine.key_id):
            assert "team/" in name
            assert 0 < await redis.pttl(name) <= 24 * 3600 * 1000


async def test_the_sums_of_a_minute_are_those_of_its_seconds(redis: Redis, key_prefix: str) -> None:
    """With minutes of two seconds, so that many of them pass."""
    draw = random.Random(5)
    limits = RateLimits(redis, Keys(key_prefix), timedelta(seconds=20))
    text = files("agon.stream").joinpath("limits.lua").read_text(encoding="utf-8")
    assert "local SECONDS = 60" in text
    limits._script = redis.register_script(text.replace("local SECONDS = 60", "local SECONDS = 2"))
    mine = key(Limits(requests_per_minute=20, tokens_per_minute=300))
    minute = Keys(key_prefix).limits("team", mine.key_id)[0]
    running: list[str] = []
    passed = refused = 0
    began = time.monotonic()
    # On a slow machine it takes longer until enough has been asked for.
    while (now_is := time.monotonic() - began) < 3.5 or (now_is < PATIENCE and not (passed > 20 and refused)):
        if running and draw.random() < 0.4:
            await limits.settle(mine, running.pop(draw.randrange(len(running))), draw.randrange(30))
        else:
            name = f"r{passed + refused}"
            if (await limits.reserve(mine, name, draw.randint(1, 30), 0)).refused is None:
                running.append(name)
                passed += 1
            else:
                refused += 1
        fields = {name.decode(): int(value) for name, value in (await redis.hgetall(minute)).items()}
        for kind in "rt":
            seconds = {name: amount for name, amount in fields.items() if name[0] == kind and name[1:].isdigit()}
            assert sum(seconds.values()) == fields.get(kind, 0)
            assert len(seconds) <= 3
        assert fields.get("r", 0) <= 20
        await asyncio.sleep(0.01)
    assert passed > 20
    assert refused
