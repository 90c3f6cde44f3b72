"""When the subscriber gives streams up because Redis is away, without a Redis: its clock is looked at once."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from agon.errors import StreamLost
from agon.stream.connection import connect
from agon.stream.frames import Delta, out
from agon.stream.subscriber import Subscriber
from agon.topics import Keys


@pytest.fixture
async def subscriber() -> AsyncIterator[Subscriber]:
    """One that is told by hand what its channel brings and how long lists could not be read."""
    redis = connect("redis://127.0.0.1:1/0")
    yield Subscriber(redis, Keys("t:"), "i1")
    await redis.aclose()


def message(at: int) -> bytes:
    """What the channel brings of request `t/r`: the token in this place."""
    frame = out("t/r", 1, at, 0, Delta((at,), "x"))
    return msgspec.msgpack.encode([["t/r", "list-1", at, [msgspec.Raw(frame.data)]]])


async def look(subscriber: Subscriber) -> None:
    """Let the subscriber look at the clock, once at least, and see what it then does with a stream that has no news."""
    watching = asyncio.create_task(subscriber._watch())
    witness = subscriber.open("t", "witness")
    assert await witness.take(patience=0) == []
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_stream_that_has_begun_is_given_up_when_redis_is_away_for_long(subscriber: Subscriber) -> None:
    now = asyncio.get_running_loop().time()
    stream = subscriber.open("t", "r")
    subscriber._receive(message(0), now)
    assert [frame.at for frame in await stream.take()] == [0]
    subscriber._unreachable_since = now - subscriber.lost_after - 1
    await look(subscriber)
    with pytest.raises(StreamLost, match="Redis does not answer"):
        await stream.take()


async def test_a_stream_that_has_not_begun_waits_longer_but_not_for_ever(subscriber: Subscriber) -> None:
    now = asyncio.get_running_loop().time()
    stream, other = subscriber.open("t", "r"), subscriber.open("t", "other")
    subscriber._unreachable_since = now - 3 * subscriber.lost_after
    await look(subscriber)
    subscriber._receive(message(0), now)
    assert [frame.at for frame in await stream.take()] == [0]
    subscriber._unreachable_since = now - 5 * subscriber.lost_after
    await look(subscriber)
    with pytest.raises(StreamLost, match="Redis does not answer"):
        await other.take()


async def test_an_outage_that_is_shorter_is_waited_for(subscriber: Subscriber) -> None:
    now = asyncio.get_running_loop().time()
    stream = subscriber.open("t", "r")
    subscriber._receive(message(0), now)
    assert await stream.take()
    subscriber._unreachable_since = now
    await look(subscriber)
    subscriber._receive(message(1), now)
    assert [frame.at for frame in await stream.take()] == [1]


async def test_a_stream_that_begins_after_redis_is_back_is_not_given_up_for_the_outage(subscriber: Subscriber) -> None:
    """The channel is heard again before any list is read: silence alone has a list read."""
    now = asyncio.get_running_loop().time()
    subscriber._unreachable_since = now - subscriber.lost_after - 1
    stream = subscriber.open("t", "r")
    subscriber._receive(message(0), now)
    await look(subscriber)
    subscriber._receive(message(1), now)
    assert [frame.at for frame in await stream.take()] == [0, 1]


async def test_by_default_a_loss_is_noticed_and_given_up_within_ten_seconds(subscriber: Subscriber) -> None:
    assert subscriber.silence + subscriber.lost_after < 10
