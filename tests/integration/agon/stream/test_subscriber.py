import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from agon.errors import StreamLost
from agon.local.redis import RedisServer
from agon.stream.connection import connect
from agon.stream.frames import Admission, Delta, Frame, body, out
from agon.stream.gate import Answer, Append, Claiming, Gate, Yours
from agon.stream.subscriber import Stream, Subscriber
from agon.topics import Keys
from support.waiting import PATIENCE

pytestmark = pytest.mark.servers
SILENCE = timedelta(milliseconds=200)
LOST = timedelta(milliseconds=600)


@pytest.fixture
async def subscriber(redis: Redis, keys: Keys) -> AsyncIterator[Subscriber]:
    async with Subscriber(redis, keys, "i1", silence=SILENCE, lost_after=timedelta(seconds=30)) as made:
        yield made


def ats(frames: list[Frame]) -> list[int]:
    return [frame.at for frame in frames if frame.kind == "delta"]


async def rest(stream: Stream, seconds: float = PATIENCE) -> list[Frame]:
    async with asyncio.timeout(seconds):
        return [frame async for frame in stream]


async def first(stream: Stream, count: int) -> list[Frame]:
    """At least so many frames."""
    got: list[Frame] = []
    async with asyncio.timeout(PATIENCE):
        while len(got) < count:
            got += await stream.take()
    return got


async def test_a_stream_brings_each_frame_once_in_order_and_ends(subscriber: Subscriber, writer: Any) -> None:
    async with subscriber.open("t", "r") as stream:
        await writer.claim("r")
        await writer.write("r", (0, Admission("a:1", 3, 0, 1.0)))
        for at in range(50):
            await writer.letters("r", at, at + 1)
        await writer.finish("r", 50)
        frames = await rest(stream)
        assert [frame.kind for frame in frames] == ["admitted", *["delta"] * 50, "final"]
        assert ats(frames) == list(range(50))
        assert await stream.take() == []


async def test_two_readers_of_a_request_each_get_all(subscriber: Subscriber, writer: Any) -> None:
    one, two = subscriber.open("t", "r"), subscriber.open("t", "r")
    await writer.claim("r")
    await writer.letters("r", 0, 3)
    await writer.finish("r", 3)
    assert ats(await rest(one)) == ats(await rest(two)) == [0, 1, 2]


async def test_what_the_channel_loses_is_read_from_the_list(redis: Redis, keys: Keys, writer: Any) -> None:
    gaps: list[int] = []
    async with Subscriber(redis, keys, "i1", silence=SILENCE, on_gap=lambda: gaps.append(1)) as subscriber:
        receive, lose = subscriber._receive, True
        subscriber._receive = lambda *a: None if lose else receive(*a)  # type: ignore[method-assign]
        stream = subscriber.open("t", "r")
        await writer.claim("r")
        await writer.letters("r", 0, 3)
        # Silence makes the subscriber look, although no message says that anything is missing.
        assert ats(await first(stream, 3)) == [0, 1, 2]
        await writer.letters("r", 3, 5)
        await asyncio.sleep(0)
        lose = False
        await writer.letters("r", 5, 6)
        assert ats(await first(stream, 3)) == [3, 4, 5]
        lose = True
        await writer.finish("r", 6)
        assert [frame.kind for frame in await rest(stream)] == ["final"]


async def test_a_slow_reader_holds_nobody_up_and_gets_everything(redis: Redis, keys: Keys, writer: Any) -> None:
    async with Subscriber(redis, keys, "i1", most=10) as subscriber:
        slow, quick = subscriber.open("t", "slow"), subscriber.open("t", "quick")
        for request in ("slow", "quick"):
            await writer.claim(request)
        for start in range(0, 2000, 5):
            await writer.letters("slow", start, start + 5)
        await writer.finish("slow", 2000)
        await writer.letters("quick", 0, 1)
        await writer.finish("quick", 1)
        assert ats(await rest(quick)) == [0]
        assert len(slow._inbox) < 20
        assert ats(await rest(slow)) == list(range(2000))


async def test_a_stream_of_another_process_is_followed_by_its_list(redis: Redis, keys: Keys, writer: Any) -> None:
    async with Subscriber(redis, keys, "i2") as elsewhere:
        await writer.claim("r")
        await writer.letters("r", 0, 3)
        stream = elsewhere.follow("t", "r")
        assert ats(await first(stream, 3)) == [0, 1, 2]
        await writer.letters("r", 3, 5)
        assert ats(await first(stream, 2)) == [3, 4]
        await writer.finish("r", 5)
        assert [frame.kind for frame in await rest(stream)] == ["final"]


async def test_a_stream_whose_frames_are_no_longer_kept_says_so(subscriber: Subscriber, writer: Any) -> None:
    await writer.gate.complete("t", "r", "top/0/r", "d")
    with pytest.raises(StreamLost, match="no longer kept"):
        await rest(subscriber.follow("t", "r"))


async def test_a_request_that_nobody_has_claimed_yet_is_waited_for(subscriber: Subscriber, writer: Any) -> None:
    stream = subscriber.open("t", "r")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.take(), (SILENCE + LOST).total_seconds() + 1)
    await writer.claim("r")
    await writer.finish("r", 0)
    assert [frame.kind for frame in await rest(stream)] == ["final"]


async def forget(redis: Redis, keys: Keys, request: str) -> None:
    await redis.delete(keys.owner("t", request), keys.frames("t", request))


async def test_a_list_that_is_lost_and_written_again_goes_on_where_it_was(
    subscriber: Subscriber, writer: Any, redis: Redis, keys: Keys
) -> None:
    stream = subscriber.open("t", "r")
    await writer.claim("r")
    await writer.letters("r", 0, 5)
    assert ats(await first(stream, 5)) == [0, 1, 2, 3, 4]
    await forget(redis, keys, "r")
    assert await writer.letters("r", 5, 7) is Answer.BEHIND
    await writer.rewrite("r")
    await writer.letters("r", 5, 7)
    await writer.finish("r", 7)
    assert ats(await rest(stream)) == [5, 6]


async def test_a_list_told_again_by_another_worker_is_compared(
    subscriber: Subscriber, writer: Any, redis: Redis, keys: Keys
) -> None:
    same, other = subscriber.open("t", "same"), subscriber.open("t", "other")
    for request, stream in (("same", same), ("other", other)):
        await writer.claim(request)
        await writer.letters(request, 0, 5)
        await first(stream, 5)
        await forget(redis, keys, request)
    gate = Gate(redis, keys)
    for request, letters in (("same", "abcdefg"), ("other", "abXdefg")):
        claiming = Claiming("t", request, f"top/0/{request}", "d", "b:1")
        assert await gate.claim([claiming]) == [Yours(1, ())]
        frames = tuple(
            out(f"t/{request}", 1, at, 0, Delta(tuple(range(at, min(at + 3, 7))), letters[at : at + 3]))
            for at in (0, 3, 6)
        )
        assert await gate.append("b:1", [Append("t", request, 1, "i1", frames)]) == [Answer.OK]
        writer.name = "b:1"
        await writer.finish(request, 7)
    frames_ = await rest(same)
    assert "".join(b.text for frame in frames_ if isinstance(b := body(frame), Delta)) == "fg"
    assert [frame.at for frame in frames_ if frame.kind == "delta"] == [5, 6]
    with pytest.raises(StreamLost):
        await rest(other)


async def test_a_list_that_nobody_writes_again_is_given_up(writer: Any, redis: Redis, keys: Keys) -> None:
    async with Subscriber(redis, keys, "i1", silence=SILENCE, lost_after=LOST) as subscriber:
        stream = subscriber.open("t", "r")
        await writer.claim("r")
        await writer.letters("r", 0, 2)
        await first(stream, 2)
        await forget(redis, keys, "r")
        with pytest.raises(StreamLost, match="no worker has written them again"):
            await rest(stream)
        with pytest.raises(StreamLost):
            await stream.take()


async def test_a_closed_stream_is_forgotten_and_a_stopping_process_ends_the_open_ones(redis: Redis, keys: Keys) -> None:
    async with Subscriber(redis, keys, "i1") as subscriber:
        closed, left = subscriber.open("t", "a"), subscriber.open("t", "b")
        await closed.close()
        await closed.close()
        assert list(subscriber._streams) == ["t/b"]
    with pytest.raises(StreamLost, match="stopping"):
        await left.take()
    assert not subscriber._streams


async def test_messages_that_are_not_ours_stop_nothing(
    subscriber: Subscriber, writer: Any, redis: Redis, keys: Keys
) -> None:
    stream = subscriber.open("t", "r")
    for nonsense in (b"", b"hello", b"\x91\x94\xa1x\xa1y\x00\x91\xc0"):
        await redis.publish(keys.tokens("i1"), nonsense)
    await writer.claim("r")
    await writer.letters("r", 0, 2)
    assert ats(await first(stream, 2)) == [0, 1]


@pytest.mark.kill
@pytest.mark.parametrize("worker_lives", [True, False])
async def test_redis_restarts_empty_in_the_middle_of_streams(tmp_path: Path, worker_lives: bool, writer: Any) -> None:
    server = RedisServer(tmp_path / "redis", tmp_path / "redis.log", uuid.uuid4().hex)
    await server.start()
    redis, keys = connect(server.url), Keys("k:")
    writer.gate = Gate(redis, keys)
    try:
        # Restarting and writing again may take long; where nobody does, nothing is waited for.
        lost_after = timedelta(seconds=60 if worker_lives else 1)
        async with Subscriber(redis, keys, "i1", silence=SILENCE, lost_after=lost_after) as subscriber:
            streams = {f"r{i}": subscriber.open("t", f"r{i}") for i in range(5)}
            for request, stream in streams.items():
                await writer.claim(request)
                await writer.letters(request, 0, 5)
                assert ats(await first(stream, 5)) == [0, 1, 2, 3, 4]
            assert server.child is not None
            server.child.send(signal.SIGKILL)
            await server.child.wait()
            await server.start()
            for request, stream in streams.items():
                if not worker_lives:
                    with pytest.raises(StreamLost):
                        await rest(stream)
                    continue
                assert await writer.letters(request, 5, 9) is Answer.BEHIND
                assert await writer.rewrite(request) is Answer.OK
                assert await writer.letters(request, 5, 9) is Answer.OK
                assert await writer.finish(request, 9) is Answer.OK
                assert ats(await rest(stream)) == [5, 6, 7, 8]
    finally:
        await redis.aclose()
        await server.stop()


@pytest.mark.kill
async def test_a_redis_that_stays_away_ends_what_has_begun(tmp_path: Path, writer: Any) -> None:
    server = RedisServer(tmp_path / "redis", tmp_path / "redis.log", uuid.uuid4().hex)
    await server.start()
    redis, keys = connect(server.url), Keys("k:")
    writer.gate = Gate(redis, keys)
    try:
        async with Subscriber(redis, keys, "i1", silence=SILENCE, lost_after=LOST) as subscriber:
            begun = subscriber.open("t", "r")
            await writer.claim("r")
            await writer.letters("r", 0, 1)
            await first(begun, 1)
            await server.stop()
            with pytest.raises(StreamLost, match="does not answer"):
                await rest(begun)
    finally:
        await redis.aclose()


async def test_a_subscriber_opens_although_redis_is_away(keys: Keys) -> None:
    redis = connect("redis://127.0.0.1:1/0")
    async with Subscriber(redis, keys, "i1", silence=timedelta(milliseconds=50)) as subscriber:
        await subscriber.open("t", "r").close()
    await redis.aclose()
