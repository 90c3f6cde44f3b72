"""What the ingress depends on."""

import asyncio
from datetime import timedelta

import pytest

from agon.errors import Unavailable
from agon.tasks import cancel_all
from agon_ingress.health import Health

SECOND = timedelta(seconds=1)


async def fine() -> None:
    return


async def broken() -> None:
    raise OSError("no route")


async def silent() -> None:
    await asyncio.Event().wait()


def test_nothing_is_there_before_it_was_asked() -> None:
    with pytest.raises(Unavailable, match="kafka"):
        Health({"kafka": fine}, SECOND, SECOND).require("kafka")


async def test_a_part_that_is_away_is_named_with_its_reason() -> None:
    health = Health({"redis": fine, "kafka": broken}, SECOND, SECOND)
    for name in health.problems:
        await health.ask(name)
    health.require("redis")
    with pytest.raises(Unavailable, match="kafka is away: no route") as caught:
        health.require("redis", "kafka")
    assert caught.value.retry_after is not None


async def test_a_part_that_does_not_answer_is_away() -> None:
    health = Health({"redis": silent}, SECOND, timedelta(milliseconds=10))
    await health.ask("redis")
    with pytest.raises(Unavailable, match="no answer within"):
        health.require("redis")


async def test_one_that_hangs_delays_no_other_and_one_that_comes_back_is_seen() -> None:
    answers = [OSError("away"), None]
    seen = asyncio.Event()

    async def returning() -> None:
        if (error := answers.pop(0)) is not None:
            raise error
        answers.append(None)
        seen.set()

    health = Health({"redis": silent, "kafka": returning}, timedelta(milliseconds=5), timedelta(seconds=60))
    watches = [asyncio.create_task(watch) for watch in health.watches()]
    async with asyncio.timeout(60):
        await seen.wait()
    await cancel_all(watches)
    health.require("kafka")
