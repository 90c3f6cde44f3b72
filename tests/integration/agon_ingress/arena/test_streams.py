"""What becomes of a battle whose reader, ingress or worker is away."""

import asyncio
import contextlib
from datetime import timedelta

import httpx
import pytest

from agon.messages import BattleTurnFinished
from agon_ingress.settings import IngressSettings
from integration.agon_ingress.arena.conftest import ONE, Arena, arena_on, by_model, names, saying, words
from integration.agon_ingress.conftest import Telling

pytestmark = pytest.mark.servers


async def test_a_stream_goes_on_where_it_was_cut_and_on_another_ingress(
    arena: Arena, arena_settings: IngressSettings
) -> None:
    arena.worker.script = saying(*["word "] * 60, pause=0.02)
    made = await arena.battle()
    first = await arena.read(made["stream"], most=6)
    async with arena_on(arena_settings.model_copy(update={"name": "other"}), arena.worker) as other:
        last = next(event_id for event_id, _, _ in reversed(first) if event_id)
        rest = await other.read(made["stream"], last)
        whole = await arena.read(made["stream"])
    for side in ("a", "b"):
        assert words(first, side) + words(rest, side) == words(whole, side) == "word " * 60
    assert names(rest) == names(whole) == ["done", "end"]
    finished = await arena.records(arena_settings.topics.battles, BattleTurnFinished)
    assert len(finished) == 1, "two processes followed it, one told"


async def test_a_battle_outlives_its_ingress(arena_settings: IngressSettings, arena: Arena) -> None:
    """The ingress that began it goes; the next one takes the turn over by itself, and a client finds all of it."""
    settings = arena_settings.model_copy(update={"name": "second", "drain_timeout": timedelta(0)})
    left = asyncio.Event()

    async def script(telling: Telling) -> None:
        await telling.admit()
        for number in range(40):
            if number == 20:
                await left.wait()
            await telling.say("word ")
        await telling.say("", finish="stop")
        await telling.end()

    arena.worker.script = script
    async with arena_on(settings, arena.worker) as gone:
        made = await gone.battle()
        first = await gone.read(made["stream"], most=4)
    turn = await arena.sql("SELECT status FROM agon.battle_turns")
    assert turn["status"] == "running"
    left.set()
    async with arena_on(settings, arena.worker) as next_one:
        async with asyncio.timeout(60):
            while (await arena.sql("SELECT done_at FROM agon.battle_turns"))["done_at"] is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        last = next(event_id for event_id, _, _ in reversed(first) if event_id)
        rest = await next_one.read(made["stream"], last)
        for side in ("a", "b"):
            assert words(first, side) + words(rest, side) == "word " * 40
        assert (await next_one.vote(made, "both_bad")).status_code == 200


async def test_a_client_that_leaves_stops_nothing(arena: Arena) -> None:
    arena.worker.script = saying(*["word "] * 20, pause=0.02)
    made = await arena.battle()
    with contextlib.suppress(httpx.ReadTimeout):
        await arena.read(made["stream"], most=1)
    events = await arena.read(made["stream"])
    assert words(events, "a") == words(events, "b") == "word " * 20
    assert not any(telling.cancelled.is_set() for telling in arena.worker.tellings)


async def test_a_side_that_never_begins_fails_and_is_stopped(arena_settings: IngressSettings, arena: Arena) -> None:
    async def silent(telling: Telling) -> None:
        await telling.admit()
        await telling.cancelled.wait()

    arena.worker.script = by_model(one=silent, two=saying("Two!"))
    for seconds in (1, 10, 100):  # on a machine that stands still, neither may have begun in time
        start_timeout = timedelta(seconds=seconds)
        hasty = arena_settings.model_copy(update={"name": f"hasty-{seconds}", "battle_start_timeout": start_timeout})
        async with arena_on(hasty, arena.worker) as other:
            made = await other.battle()
            told = names(await other.read(made["stream"]))
            if told == ["failed", "failed", "end"]:
                continue
            assert told == ["failed", "end"]
            await was_stopped(arena, other)
            break


async def was_stopped(arena: Arena, other: Arena) -> None:
    """The last one that was asked."""
    request = [telling.request for telling in arena.worker.tellings if telling.request.model == ONE][-1]
    keys, redis = other.ingress.house.settings.keys, other.ingress.house.redis
    async with asyncio.timeout(60):
        while not await redis.exists(keys.cancel(request.tenant, request.request_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
