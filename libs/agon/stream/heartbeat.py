"""Who is alive: keys in Redis that live for seconds and are renewed each second.

A worker's heart is a thread with a connection of its own, so that a busy event loop or a long step does not look like
death; a stopped process (SIGSTOP) does, and should. **A worker keeps its incarnation when it wakes up again.** Its key
is asked only when somebody claims a request: whatever was claimed meanwhile belongs to the claimer, and is fenced for
the sleeper by owner and attempt; whatever nobody claimed goes on as if nothing had happened. A new process is always a
new incarnation, so that a restarted worker never passes for its predecessor.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agon.stream.connection import connect_sync
from agon.topics import Keys

log = logging.getLogger(__name__)

_FORGET_SECONDS = 3600  # an entry of the worker index that nobody has renewed for so long goes; clocks may differ


class Load(msgspec.Struct, frozen=True):
    """What a worker holds of one model: jobs running and waiting, and how many it wants to hold at most."""

    running: int = 0
    waiting: int = 0
    capacity: int = 1


class WorkerState(msgspec.Struct, frozen=True):
    """A living worker as its last heartbeat told. `partitions` are those it reads, per topic; time is epoch seconds."""

    worker: str
    incarnation: str
    models: dict[str, Load]
    partitions: dict[str, list[int]]
    started_at: float

    @property
    def owner(self) -> str:
        """ "id:incarnation": as claims and appends name it."""
        return f"{self.worker}:{self.incarnation}"


class Report(msgspec.Struct, frozen=True):
    """What changes from beat to beat."""

    models: dict[str, Load] = {}
    partitions: Mapping[str, Iterable[int]] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WorkerState)


class WorkerHeartbeat:
    """Beats from `start` to `stop`, in its own thread.

    `report` is called by that thread before each beat and must return at once. While Redis is away it goes on trying.
    `lapses` counts how often the key had run out and was set again (the process was paused, or Redis lost it).
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        worker: str,
        report: Callable[[], Report] = Report,
        *,
        interval: timedelta = timedelta(seconds=1),
        ttl: timedelta = timedelta(seconds=5),
    ) -> None:
        self.worker = worker
        self.incarnation = secrets.token_hex(6)
        self.lapses = 0
        self._keys = keys
        self._report = report
        self._interval = interval.total_seconds()
        self._ttl_ms = int(ttl.total_seconds() * 1000)
        self._started_at = time.time()
        # One late beat must not kill: a call that hangs is given up within an interval.
        self._redis = connect_sync(url, patience=min(interval, timedelta(seconds=1)))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{worker}", daemon=True)
        self._beaten = False

    @property
    def owner(self) -> str:
        """ "id:incarnation": what claims and appends of this process must carry."""
        return f"{self.worker}:{self.incarnation}"

    def start(self) -> None:
        """Beat once, blocking (about a second at most where Redis is away), and go on in the thread."""
        self._try_beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop beating and take the key away, so that what is left can be claimed at once. Blocks up to seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(self._keys.worker(self.owner))
            pipe.zrem(self._keys.workers, self.owner)
            pipe.execute()
        except (RedisError, OSError) as error:
            log.warning("the heartbeat runs out by itself: %s", error)
        finally:
            self._redis.close()

    def beat(self) -> None:
        """Renew the key once. Raises redis' errors."""
        report = self._report()
        now = time.time()
        partitions = {topic: list(held) for topic, held in report.partitions.items()}
        state = WorkerState(self.worker, self.incarnation, report.models, partitions, self._started_at)
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(self._keys.worker(self.owner), _encoder.encode(state), px=self._ttl_ms, get=True)
        pipe.zadd(self._keys.workers, {self.owner: now})
        pipe.zremrangebyscore(self._keys.workers, "-inf", now - _FORGET_SECONDS)
        pipe.expire(self._keys.workers, _FORGET_SECONDS)
        before = pipe.execute()[0]
        if before is None and self._beaten:
            self.lapses += 1
            log.warning("the heartbeat of %s had run out: others may have taken over its requests", self.owner)
        self._beaten = True

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._try_beat()

    def _try_beat(self) -> None:
        try:
            self.beat()
        except (RedisError, OSError) as error:
            log.warning("no heartbeat: %s", error)
        except Exception:
            # The thread outlives a broken report: a worker that generates must not look dead.
            log.exception("no heartbeat")


class IngressHeartbeat:
    """Keeps an ingress' key alive while `run` runs. A task is enough here: the key lives for ten beats."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        ingress: str,
        interval: timedelta = timedelta(seconds=1),
        ttl: timedelta = timedelta(seconds=10),
    ) -> None:
        self._redis = redis
        self._key = keys.ingress(ingress)
        self._interval = interval.total_seconds()
        self._ttl_ms = int(ttl.total_seconds() * 1000)

    async def run(self) -> None:
        """Beat until cancelled, then take the key away. While Redis is away it goes on trying."""
        task = asyncio.current_task()
        try:
            # Before Python 3.12 `asyncio.wait_for`, which redis sends with, may swallow a cancel: it is asked for here.
            while not (task and task.cancelling()):
                try:
                    await self._redis.set(self._key, 1, px=self._ttl_ms)
                except (RedisError, OSError) as error:
                    log.warning("no heartbeat: %s", error)
                await asyncio.sleep(self._interval)
        finally:
            try:
                await self._redis.delete(self._key)
            except (RedisError, OSError) as error:
                log.warning("the heartbeat runs out by itself: %s", error)


async def workers(redis: Redis, keys: Keys) -> list[WorkerState]:
    """Every living worker, by name. Raises redis' errors."""
    owners: Any = await redis.zrange(keys.workers, 0, -1)
    if not owners:
        return []
    beats: Any = await redis.mget([keys.worker(owner.decode()) for owner in owners])
    return sorted((_decoder.decode(beat) for beat in beats if beat), key=lambda state: state.owner)


async def ingresses_alive(redis: Redis, keys: Keys, ids: Iterable[str]) -> set[str]:
    """Which of these ingress processes are alive. Raises redis' errors."""
    asked = list(ids)
    if not asked:
        return set()
    beats: Any = await redis.mget([keys.ingress(ingress) for ingress in asked])
    return {ingress for ingress, beat in zip(asked, beats, strict=True) if beat is not None}
