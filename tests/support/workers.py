"""Real worker processes for tests: start, kill, pause, and what they have published."""

import asyncio
import contextlib
import json
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from redis.asyncio import Redis

from agon.messages import GenerationCompleted
from agon.stream.connection import connect
from agon.stream.frames import Delta, Frame, body
from agon.stream.gate import Gate
from agon.stream.heartbeat import WorkerState, workers
from agon.topics import Keys, Topics
from support.forked import Forked
from support.waiting import PATIENCE


@dataclass(frozen=True, slots=True)
class Place:
    """The servers and the names of one test (or of one module)."""

    kafka_url: str
    redis_url: str
    prefix: str
    folder: Path
    """Where logs of processes go."""

    @property
    def topics(self) -> Topics:
        return Topics(f"{self.prefix}.")

    @property
    def keys(self) -> Keys:
        return Keys(f"{self.prefix}:")

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AGON_")},
            "AGON_KAFKA_URL": self.kafka_url,
            "AGON_REDIS_URL": self.redis_url,
            "AGON_TOPIC_PREFIX": self.topics.prefix,
            "AGON_KEY_PREFIX": self.keys.prefix,
            "OMP_NUM_THREADS": "1",
            # A machine that stands still for a while is no outage.
            "AGON_PROBE_TIMEOUT": "30",
            "AGON_PRODUCE_TIMEOUT": "30",
            # Who is killed is missed sooner than by default; the brokers of tests allow it.
            "AGON_SESSION_TIMEOUT": "3",
            "AGON_WORKER_TTL": "3",
            # An ingress is seldom killed; for one that stands still for so long, workers would stop all its answers.
            "AGON_INGRESS_TTL": "60",
            **more,
        }


UNDISTURBED = {"AGON_SESSION_TIMEOUT": "30", "AGON_WORKER_TTL": "30"}
"""For one that no test kills: it may stand still for a while."""


def new_place(kafka_url: str, redis_url: str, folder: Path) -> Place:
    return Place(kafka_url, redis_url, f"t{uuid.uuid4().hex[:10]}", folder)


class WorkerProcess:
    """One `python -m agon_inference`."""

    def __init__(
        self,
        place: Place,
        name: str,
        models: Iterable[str],
        *,
        before: Callable[[], None] | None = None,
        **settings: str,
    ) -> None:
        """`before` is called in it before anything else (`support.dying`)."""
        self.name = name
        self.log = place.folder / f"{name}-{uuid.uuid4().hex[:4]}.log"
        environment = place.environment(AGON_NAME=name, AGON_MODELS=json.dumps(list(models)), **settings)
        self.process = Forked("agon_inference", environment, self.log, before=before)

    def signal(self, number: signal.Signals) -> None:
        """Also SIGSTOP and SIGCONT."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """As a machine that loses power does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(PATIENCE)

    async def terminate(self, timeout: float = PATIENCE) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, timeout)

    async def ended(self) -> None:
        """Wait until it is dead."""
        await eventually(f"{self.name} ends", lambda: self.process.poll() is not None)

    async def stopped(self) -> None:
        """Wait until it stands still (SIGSTOP)."""
        process = psutil.Process(self.process.pid)
        await eventually(f"{self.name} stops", lambda: process.status() == psutil.STATUS_STOPPED)

    def told(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")


StartWorker = Callable[..., WorkerProcess]
"""`start_worker(name, "MODEL=SOURCE", ..., AGON_X="...")`"""


async def eventually(what: str, condition: Callable[[], Any], timeout: float = PATIENCE, every: float = 0.05) -> Any:
    """Wait until `condition()` (plain or async) is true, and return what it gave. Fails with `what` where it still is
    not after `timeout`."""
    until = time.monotonic() + timeout
    while True:
        late = time.monotonic() > until
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if late:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        await asyncio.sleep(every)


class Client:
    """Produces requests and reads what became of them, as a backend team would: with Kafka alone."""

    def __init__(self, place: Place, producer: AIOKafkaProducer, redis: Redis) -> None:
        self.place = place
        self.redis = redis
        self.gate = Gate(redis, place.keys)
        self._producer = producer

    async def send(self, model: str, value: bytes | dict[str, Any], *, batch: bool = False, **options: Any) -> None:
        """Produce a record to the model's topic, as it stands."""
        topics = self.place.topics
        topic = topics.batch_requests(model) if batch else topics.requests(model)
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        await self._producer.send_and_wait(topic, data, **options)

    async def ask(self, model: str, content: str = "hello", **fields: Any) -> str:
        """Produce a chat request; returns its id."""
        request_id = fields.pop("request_id", None) or f"r-{uuid.uuid4().hex[:12]}"
        options = {name: fields.pop(name) for name in ("partition", "timestamp_ms", "batch") if name in fields}
        message = {"role": "user", "content": content}
        await self.send(model, {"request_id": request_id, "model": model, "messages": [message], **fields}, **options)
        return request_id

    async def records(self, topic: str) -> list[ConsumerRecord]:
        """All records of a topic so far."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.place.kafka_url, enable_auto_commit=False, fetch_max_wait_ms=20, check_crcs=False
        )
        await consumer.start()
        try:
            where = [TopicPartition(topic, part) for part in await self._producer.partitions_for(topic)]
            consumer.assign(where)
            await consumer.seek_to_beginning(*where)
            ends = await consumer.end_offsets(where)
            found: list[ConsumerRecord] = []
            while any([await consumer.position(part) < ends[part] for part in where]):
                for records in (await consumer.getmany(timeout_ms=50)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def completions(self) -> dict[str, list[GenerationCompleted]]:
        """Every completion so far, by request id, in the order of their partition."""
        found: dict[str, list[GenerationCompleted]] = {}
        for record in await self.records(self.place.topics.completions):
            completion = GenerationCompleted.decode(record.value)
            found.setdefault(completion.request_id, []).append(completion)
        return found

    async def completed(self, *request_ids: str, timeout: float = PATIENCE) -> list[GenerationCompleted]:
        """Wait until each of these has a completion; the first of each, in order."""

        async def all_there() -> list[GenerationCompleted] | None:
            found = await self.completions()
            return [found[name][0] for name in request_ids] if all(name in found for name in request_ids) else None

        done: list[GenerationCompleted] = await eventually(f"completions of {request_ids}", all_there, timeout, 0.1)
        return done

    async def dead_letters(self, model: str, *, batch: bool = False) -> list[ConsumerRecord]:
        topics = self.place.topics
        return await self.records(
            Topics.dead_letters(topics.batch_requests(model) if batch else topics.requests(model))
        )

    async def frames(self, request_id: str, tenant: str = "default") -> list[Frame]:
        return await self.gate.frames(tenant, request_id)

    async def tokens(self, request_id: str) -> int:
        """Tokens on the request's list so far."""
        bodies = [body(frame) for frame in await self.frames(request_id)]
        return sum(len(said.token_ids) for said in bodies if isinstance(said, Delta))

    async def emitting(self, request_id: str, tokens: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until so many tokens are on the request's list."""

        async def there() -> bool:
            return await self.tokens(request_id) >= tokens

        await eventually(f"{tokens} tokens of {request_id}", there, timeout, 0.02)

    async def owner(self, request_id: str, tenant: str = "default") -> str | None:
        """The worker incarnation that writes the request's list."""
        owner: Any = await self.redis.hget(self.place.keys.owner(tenant, request_id), "worker")  # type: ignore[misc]
        return owner.decode() if owner else None

    async def alive(self) -> list[WorkerState]:
        return await workers(self.redis, self.place.keys)

    async def state(self, name: str) -> WorkerState:
        """What a worker says of itself, as soon as it does."""

        async def told() -> WorkerState | None:
            return next((state for state in await self.alive() if state.worker == name), None)

        found: WorkerState = await eventually(f"{name} is alive", told)
        return found

    async def reading(self, *names: str, model: str, partitions: int | None = None, timeout: float = PATIENCE) -> None:
        """Wait until these workers are alive, and the partitions of the model's requests are shared among them all."""
        topic = self.place.topics.requests(model)

        async def shared() -> bool:
            states = [state for state in await self.alive() if state.worker in names]
            held = [part for state in states for part in state.partitions.get(topic, ())]
            every = {state.worker for state in states if state.partitions.get(topic)}
            return every == set(names) and len(held) == len(set(held)) and len(held) == (partitions or 8)

        await eventually(f"{names} share the partitions of {topic}", shared, timeout)


@contextlib.asynccontextmanager
async def client_of(place: Place) -> AsyncIterator[Client]:
    producer = AIOKafkaProducer(bootstrap_servers=place.kafka_url, max_request_size=18 * 1024 * 1024)
    redis = connect(place.redis_url)
    await producer.start()
    try:
        yield Client(place, producer, redis)
    finally:
        await producer.stop()
        await redis.aclose()
