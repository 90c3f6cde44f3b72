"""What the model-based test leaves out: limits, times to live, batches, and what is published."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from agon.stream.connection import memory_pressure
from agon.stream.frames import Admission, Delta, End, out
from agon.stream.gate import Answer, Append, Claiming, Done, Ended, Gate, Parked, Yours
from agon.topics import Keys

pytestmark = pytest.mark.servers


async def messages(pubsub: Any) -> list[Any]:
    await pubsub.ping()
    got = []
    while (message := await pubsub.get_message(timeout=5)) is not None and message["type"] != "pong":
        if message["type"] == "message":
            got.append(message["data"])
    return got


async def test_one_call_serves_many_requests_and_publishes_once_per_ingress(
    writer: Any, redis: Redis, keys: Keys
) -> None:
    requests = [f"r{i}" for i in range(20)]
    for request in requests:
        await writer.claim(request)
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(keys.tokens("i1"), keys.tokens("i2"))
        await messages(pubsub)
        appends = [
            Append("t", r, 1, ("i1", "i2", None)[i % 3], (out(f"t/{r}", 1, 0, 0, Delta((i,), "é" * i)),))
            for i, r in enumerate(requests)
        ]
        fenced = Append("t", "r0", 9, "i1", appends[0].frames)
        assert await writer.gate.append("a:1", [*appends, fenced]) == [Answer.OK] * 20 + [Answer.FENCED]
        first, second = map(msgspec.msgpack.decode, await messages(pubsub))
    told = {group[0]: group for group in first + second}
    assert {len(first), len(second)} == {7}
    assert told["t/r3"][2:] == [0, [[1, "t/r3", 1, 0, 0, "delta", [[3], "ééé", None, None, None]]]]
    assert "t/r2" not in told
    assert len(await writer.gate.frames("t", "r2")) == 1


async def test_a_large_batch_and_a_long_list_go_through(writer: Any) -> None:
    for start in range(0, 600, 200):
        asked = [Claiming("t", f"r{i}", f"top/0/{i}", "d", "a:1") for i in range(start, start + 200)]
        assert all(isinstance(claim, Yours) for claim in await writer.gate.claim(asked))
    appends = [Append("t", f"r{i}", 1, "i1", (out(f"t/r{i}", 1, 0, 0, Delta((1,), "x")),)) for i in range(600)]
    assert await writer.gate.append("a:1", appends) == [Answer.OK] * 600
    writer.written["r0"] = list(appends[0].frames)
    await writer.letters("r0", 1, 20_000)
    assert len(await writer.gate.frames("t", "r0")) == 20_000


async def test_a_list_lost_in_the_middle_is_written_again(writer: Any, redis: Redis, keys: Keys) -> None:
    await writer.claim("r")
    await writer.letters("r", 0, 5)
    await redis.delete(keys.owner("t", "r"), keys.frames("t", "r"))
    assert await writer.letters("r", 5, 6) is Answer.BEHIND
    assert await writer.rewrite("r") is Answer.OK
    assert await writer.letters("r", 5, 6) is Answer.OK
    assert [frame.at for frame in await writer.gate.frames("t", "r")] == [0, 1, 2, 3, 4, 5]


async def test_frames_whose_owner_was_lost_are_replaced_with_their_end(writer: Any, redis: Redis, keys: Keys) -> None:
    await writer.claim("r")
    await writer.letters("r", 0, 3)
    await writer.finish("r", 3)
    await redis.delete(keys.owner("t", "r"))
    assert await writer.rewrite("r") is Answer.OK
    assert await writer.rewrite("r") is Answer.OK
    assert [frame.kind for frame in await writer.gate.frames("t", "r")] == ["delta"] * 3 + ["final"]
    assert await writer.letters("r", 3, 4) is Answer.FENCED
    assert await writer.gate.claim([replace(writer.claiming("r"), worker="b:1")]) == [
        Ended(tuple(await writer.gate.frames("t", "r")))
    ]


async def test_an_empty_append_asks_whether_the_list_still_stands(writer: Any, redis: Redis, keys: Keys) -> None:
    await writer.claim("r")
    assert await writer.write("r") is Answer.OK
    await redis.delete(keys.owner("t", "r"))
    assert await writer.write("r") is Answer.BEHIND


async def test_an_answer_that_outgrows_its_list_may_only_end(redis: Redis, keys: Keys, writer: Any) -> None:
    writer.gate = Gate(redis, keys, most_bytes=2000)
    await writer.claim("r")
    answer, at = Answer.OK, 0
    while answer is Answer.OK and at < 1000:
        answer = await writer.write("r", (at, Delta((at,), "x" * 100)))
        at += 1
    assert answer is Answer.FULL
    assert 10 < at < 20
    assert await writer.write("r", (0, End("failed", 1, at, 0, 2.0, "too long"))) is Answer.OK


async def test_everything_has_a_time_to_live_and_work_renews_it(redis: Redis, keys: Keys, writer: Any) -> None:
    hour = timedelta(hours=1)
    writer.gate = Gate(redis, keys, live_ttl=hour, done_ttl=2 * hour, list_ttl=timedelta(seconds=90))
    await writer.claim("r")
    await writer.write("r", (0, Admission("a:1", 1, 0, 1.0)))
    await writer.gate.cancel("t", "r", "nano")
    owner, frames = keys.owner("t", "r"), keys.frames("t", "r")
    for key in (owner, frames):
        assert 3500 < await redis.ttl(key) <= 3600
    # As if half of its time had passed without a frame.
    for key in (owner, frames):
        await redis.expire(key, 1700)
    await redis.hincrby(owner, "renewed", -1900)
    await writer.finish("r", 0)
    for key in (owner, frames):
        assert 3500 < await redis.ttl(key) <= 3600
    await writer.gate.complete("t", "r", "top/0/r", "d")
    assert 7100 < await redis.ttl(keys.done("t", "r")) <= 7200
    for key in (owner, frames, keys.cancel("t", "r")):
        assert 80 < await redis.ttl(key) <= 90


async def test_a_cancel_reaches_the_workers_and_the_claim(redis: Redis, keys: Keys, writer: Any) -> None:
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(keys.control("nano"))
        await messages(pubsub)
        await writer.gate.cancel("t", "r", "nano")
        assert await messages(pubsub) == [b"t/r"]
    assert (await writer.claim("r")).cancelled


async def test_a_worker_that_wakes_up_after_the_end_can_not_write_it_again(
    redis: Redis, keys: Keys, writer: Any
) -> None:
    await writer.claim("r")
    await writer.letters("r", 0, 3)
    await writer.gate.complete("t", "r", "top/0/r", "d")
    await redis.delete(keys.owner("t", "r"), keys.frames("t", "r"))  # two minutes later
    assert await writer.letters("r", 3, 4) is Answer.FENCED
    assert await writer.rewrite("r") is Answer.FENCED
    assert await writer.gate.claim([writer.claiming("r")]) == [Done()]


async def test_scripts_survive_a_redis_that_forgot_them(writer: Any, redis: Redis) -> None:
    await writer.claim("r")
    await redis.script_flush()
    assert await writer.letters("r", 0, 1) is Answer.OK
    assert await writer.gate.claim([writer.claiming("r")]) == [Parked("a:1")]


async def test_memory_pressure_is_a_share_of_the_limit(redis: Redis) -> None:
    before = (await redis.config_get("maxmemory"))["maxmemory"]
    try:
        await redis.config_set("maxmemory", 0)
        assert await memory_pressure(redis) == 0
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", int(used) * 2)
        assert 0.3 < await memory_pressure(redis) < 0.8
    finally:
        await redis.config_set("maxmemory", before)
