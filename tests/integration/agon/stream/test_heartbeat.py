import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from agon.stream.connection import connect_sync
from agon.stream.gate import Claiming, Gate, Parked, Yours
from agon.stream.heartbeat import IngressHeartbeat, Load, Report, WorkerHeartbeat, ingresses_alive, workers
from agon.topics import Keys
from support.waiting import PATIENCE

pytestmark = pytest.mark.servers
QUICK = timedelta(milliseconds=20)


@pytest.fixture
def heart(redis_url: str, keys: Keys) -> Iterator[WorkerHeartbeat]:
    report = Report({"nano": Load(1, 2, 8)}, {"llm.requests.v1.nano": (0, 3)})
    made = WorkerHeartbeat(redis_url, keys, "inference-1", lambda: report, interval=QUICK)
    made.start()
    with connect_sync(redis_url) as redis:
        # Within its interval Redis need not answer.
        until = time.monotonic() + PATIENCE
        while not redis.exists(keys.worker(made.owner)):
            assert time.monotonic() < until
            time.sleep(0.005)
    yield made
    made.stop()


async def until(condition: object, seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # type: ignore[operator]  # noqa: ASYNC110 - what it asks is in Redis
            await asyncio.sleep(0.005)


async def test_a_worker_is_known_with_its_load_and_partitions(heart: WorkerHeartbeat, redis: Redis, keys: Keys) -> None:
    [state] = await workers(redis, keys)
    assert state.owner == heart.owner == f"inference-1:{heart.incarnation}"
    assert state.models == {"nano": Load(1, 2, 8)}
    assert state.partitions == {"llm.requests.v1.nano": [0, 3]}
    assert 0 < await redis.pttl(keys.worker(heart.owner)) <= 5000


async def test_a_heart_beats_while_the_event_loop_is_busy(heart: WorkerHeartbeat, redis: Redis, keys: Keys) -> None:
    await redis.pexpire(keys.worker(heart.owner), 60_000)
    beaten = threading.Event()
    beat = heart.beat
    heart.beat = lambda: (beat(), beaten.set())[0]  # type: ignore[method-assign, func-returns-value]
    assert beaten.wait(PATIENCE)  # blocks the loop
    assert await redis.pttl(keys.worker(heart.owner)) <= 5000


async def test_a_worker_that_was_paused_comes_back_as_the_same_one_and_keeps_what_nobody_took(
    heart: WorkerHeartbeat, redis: Redis, keys: Keys
) -> None:
    gate = Gate(redis, keys)
    mine = [Claiming("t", r, f"top/0/{r}", "d", heart.owner) for r in ("r1", "r2")]
    assert await gate.claim(mine) == [Yours(1, ()), Yours(1, ())]
    await redis.delete(keys.worker(heart.owner))
    taken = Claiming("t", "r1", "top/0/r1", "d", "other:1")
    # The heart may beat in between; a dead worker's request is claimed at the first moment that it is dead.
    async with asyncio.timeout(60):
        while not isinstance((await gate.claim([taken]))[0], Yours):
            await redis.delete(keys.worker(heart.owner))

    async def lapsed() -> bool:
        return heart.lapses > 0 and len(await workers(redis, keys)) == 1

    await until(lapsed)
    theirs = Claiming("t", "r2", "top/0/r2", "d", "other:1")
    assert await gate.claim([theirs]) == [Parked(heart.owner)]


async def test_a_worker_that_stops_is_gone_at_once(redis_url: str, redis: Redis, keys: Keys) -> None:
    heart = WorkerHeartbeat(redis_url, keys, "w")
    heart.start()
    assert len(await workers(redis, keys)) == 1
    heart.stop()
    assert await workers(redis, keys) == []
    assert not await redis.exists(keys.worker(heart.owner), keys.workers)


async def test_a_heart_outlives_a_broken_report_and_an_absent_redis(redis_url: str, keys: Keys) -> None:
    calls = threading.Semaphore(0)

    def broken() -> Report:
        calls.release()
        raise RuntimeError("no report today")

    heart = WorkerHeartbeat(redis_url, keys, "w", broken, interval=QUICK)
    heart.start()
    for _ in range(3):
        assert calls.acquire(timeout=PATIENCE)
    heart.stop()
    away = WorkerHeartbeat("redis://127.0.0.1:1/0", keys, "w", interval=QUICK)
    away.start()
    away.stop()


async def test_two_incarnations_of_a_worker_are_two(redis_url: str, keys: Keys) -> None:
    first, second = (WorkerHeartbeat(redis_url, keys, "w") for _ in range(2))
    assert first.owner != second.owner
    first.start()
    second.start()
    first.stop()
    second.stop()


async def test_an_ingress_is_alive_while_it_beats(redis: Redis, keys: Keys) -> None:
    task = asyncio.create_task(IngressHeartbeat(redis, keys, "i1", QUICK, timedelta(seconds=10)).run())

    async def alive() -> bool:
        return await ingresses_alive(redis, keys, ["i1", "i2"]) == {"i1"}

    await until(alive)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await ingresses_alive(redis, keys, ["i1", "i2"]) == set()
    assert await ingresses_alive(redis, keys, []) == set()
