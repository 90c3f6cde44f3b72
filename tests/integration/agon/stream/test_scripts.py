"""Scripts over a connection of their own: lost, silent, emptied and abandoned, on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError, TimeoutError

from agon.stream.connection import connect
from agon.stream.scripts import Script, Scripts
from agon.topics import Keys

COMPLETE = Script("complete.lua")


@pytest.fixture
async def scripts(redis: Redis) -> AsyncIterator[Scripts]:
    made = Scripts(redis)
    yield made
    await made.close()


async def mark(scripts: Scripts, keys: Keys, name: str) -> str:
    """Let the script write a key."""
    key = keys.done("t", name)
    await scripts.run(COMPLETE, key, "source\ndigest", 100, 50)
    return key


async def address(scripts: Scripts) -> str:
    """Its connection's, as Redis knows it."""
    transport = (await scripts._open())._transport
    assert transport is not None
    host, port = transport.get_extra_info("sockname")
    return f"{host}:{port}"


async def test_a_script_runs_and_runs_again_after_redis_has_forgotten_it(
    redis: Redis, scripts: Scripts, keys: Keys
) -> None:
    await redis.script_flush()
    for name in ("first", "second"):
        assert await redis.get(await mark(scripts, keys, name)) == b"source\ndigest"


async def test_many_calls_share_one_connection_and_each_gets_its_own_answer(
    redis: Redis, scripts: Scripts, keys: Keys
) -> None:
    wire = await scripts._open()
    answers = await asyncio.gather(*(scripts._ask(wire, "ECHO", str(number)) for number in range(100)))
    assert answers == [str(number).encode() for number in range(100)]
    assert await scripts._open() is wire


async def test_a_lost_connection_is_not_noticed(redis: Redis, scripts: Scripts, keys: Keys) -> None:
    await mark(scripts, keys, "before")
    await redis.client_kill(await address(scripts))
    assert await redis.get(await mark(scripts, keys, "after")) == b"source\ndigest"


async def test_whoever_stops_waiting_leaves_the_others_their_answers(
    redis: Redis, scripts: Scripts, keys: Keys
) -> None:
    wire = await scripts._open()
    impatient = asyncio.ensure_future(scripts._ask(wire, "ECHO", "nobody's"))
    patient = asyncio.ensure_future(scripts._ask(wire, "ECHO", "mine"))
    await asyncio.sleep(0)  # both are on their way
    impatient.cancel()
    assert await patient == b"mine"


async def test_a_wrong_call_raises_what_redis_says_and_the_next_one_goes_on(
    redis: Redis, scripts: Scripts, keys: Keys
) -> None:
    with pytest.raises(ResponseError):
        await scripts.run(COMPLETE, keys.done("t", "wrong"), "said", "no seconds", 1)
    assert await redis.get(await mark(scripts, keys, "right")) == b"source\ndigest"


async def test_a_redis_that_is_silent_is_given_up_and_its_late_answers_are_nobodys(
    redis: Redis, redis_url: str, keys: Keys
) -> None:
    own = connect(redis_url, patience=timedelta(seconds=30))
    scripts = Scripts(own)
    try:
        wire = await scripts._open()
        wire.patience = 0.1
        await redis.client_pause(1500)
        with pytest.raises(TimeoutError, match="has not answered within"):
            await scripts._ask(wire, "ECHO", "late")
        # Tried again over another connection, which is given more time than the pause takes.
        assert await redis.get(await mark(scripts, keys, "again")) == b"source\ndigest"
        assert await scripts._ask(await scripts._open(), "ECHO", "fresh") == b"fresh"
    finally:
        await scripts.close()
        await own.aclose()
