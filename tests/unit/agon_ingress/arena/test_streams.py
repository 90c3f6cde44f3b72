"""How many streams voters may hold open at once."""

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, nullcontext

import pytest

from agon.errors import RateLimited
from agon_ingress.arena.arena import Streams


class Gauge:
    """As much of prometheus' gauge as is used."""

    def track_inprogress(self) -> AbstractContextManager[None]:
        return nullcontext()


async def events() -> AsyncGenerator[bytes]:
    yield b"one"
    yield b"two"


async def test_one_stream_more_than_the_most_is_refused_until_one_ends() -> None:
    streams = Streams(1, Gauge())  # type: ignore[arg-type]
    streams.check()
    reading = streams.count(events())
    assert await anext(reading) == b"one"
    with pytest.raises(RateLimited):
        streams.check()
    assert [event async for event in reading] == [b"two"]
    streams.check()


async def test_a_stream_that_is_left_in_the_middle_is_no_longer_counted() -> None:
    streams = Streams(1, Gauge())  # type: ignore[arg-type]
    reading = streams.count(events())
    await anext(reading)
    await reading.aclose()  # type: ignore[attr-defined]
    assert streams.open == 0
