"""What every route of the ingress works with: the connections, what is known about models, and `submit`."""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agon.bus.headers import event_headers
from agon.messages import GenerationRequest, now
from agon.settings import is_loopback
from agon.store.pool import leave_as_it_is
from agon.stream.connection import connect, memory_pressure
from agon.stream.gate import Gate
from agon.stream.heartbeat import IngressHeartbeat
from agon.stream.limits import RateLimits
from agon.stream.repeats import Repeats
from agon.stream.subscriber import Stream, Subscriber
from agon.tasks import cancel_all
from agon.telemetry import Metrics
from agon_ingress.access.allowances import Allowances
from agon_ingress.access.keyring import Keyring
from agon_ingress.asking.admission import Admission
from agon_ingress.asking.generation import Generation
from agon_ingress.asking.kafka import Producer
from agon_ingress.asking.registry import Registry
from agon_ingress.asking.repeating import Repeating
from agon_ingress.health import Health
from agon_ingress.settings import IngressSettings

log = logging.getLogger(__name__)

SEED_BITS = 53  # what a JSON number carries exactly through every client


@dataclass(slots=True)
class House:
    """Built once per process by `open_house`, reached by routes as `request.app.state.house`."""

    settings: IngressSettings
    ingress_id: str
    """This incarnation of the process: what `reply_to` says. A restarted ingress is another one."""
    redis: Redis
    gate: Gate
    subscriber: Subscriber
    pool: asyncpg.Pool
    producer: Producer
    registry: Registry
    health: Health
    admission: Admission
    keyring: Keyring
    allowances: Allowances
    repeating: Repeating
    metrics: Metrics
    uploads: int = 0
    """Files that are being taken in."""

    async def submit(self, request: GenerationRequest, *, conversation: str | None = None) -> Generation:
        """Send a request to its model's workers; the caller closes what comes back.

        Fills in what the request lacks: seed, deadline, `reply_to`. Requests with the same `conversation` go to the
        same worker while the partitions stay. Raises `ModelNotFound`, `ModelNotServed`, `RateLimited`, `TooLarge`, or
        `Unavailable` when Redis or Kafka is away.
        """
        self.health.require("redis", "kafka")
        self.registry.check(request.model)
        request = self._complete(request)
        # Listening begins before the record exists, so that no frame can be missed.
        return await self._send(request, conversation, self.subscriber.open)

    async def submit_again(self, request: GenerationRequest, *, conversation: str | None = None) -> Generation:
        """The same for a request that was sent before, by whomever, with all that it needs: its answer is told from
        the beginning, and no engine answers twice. Raises `Conflict` where it is over and no longer kept."""
        self.health.require("redis", "kafka")
        source = await self.repeating.source(request)
        if source is None:
            # It waits in Kafka, or never got there. Where it is there twice, the gate takes one of them.
            return await self._send(request, conversation, self.subscriber.follow)
        self.admission.enter()
        if isinstance(source, Stream):
            self.repeating.keep_after([request])  # whoever sent it may have died
        return Generation(request, source, self.abandon, self.admission.leave, again=True)

    async def _send(
        self, request: GenerationRequest, conversation: str | None, listen: Callable[[str, str], Stream]
    ) -> Generation:
        topic = self.registry.topic(request.model)
        partitions = await self.producer.partitions(topic)
        value = request.encode()
        self.admission.enter()
        stream = listen(request.tenant, request.request_id)
        generation = Generation(request, stream, self.abandon, self.admission.leave)
        try:
            await self.producer.produce(
                topic,
                value,
                key=None if conversation is None else conversation.encode(),
                partition=self.registry.place(request.model, partitions, conversation),
                headers=event_headers(request, id=request.request_id, source=self.ingress_id),
            )
        except BaseException:
            # The record may have arrived although nobody said so: closing sets the cancel mark.
            await generation.close()
            raise
        return generation

    async def abandon(self, request: GenerationRequest) -> None:
        """Nobody wants this answer any more: stop it in the engine. With Redis away, its deadline will."""
        try:
            async with asyncio.timeout(self.settings.probe_timeout.total_seconds()):
                await self.gate.cancel(request.tenant, request.request_id, request.model)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("could not cancel %s: %s", request.key, error)

    def _complete(self, request: GenerationRequest) -> GenerationRequest:
        """Write down what must be the same for every attempt: seed and deadline; and who listens."""
        limit = now() + self.settings.longest_deadline
        deadline = request.deadline or now() + self.settings.default_deadline
        seed = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
        changes = {"seed": seed, "deadline": min(deadline, limit), "reply_to": request.reply_to or self.ingress_id}
        return request.model_copy(update=changes)


@asynccontextmanager
async def open_house(settings: IngressSettings, metrics: Metrics) -> AsyncIterator[House]:
    """Build the house and take it down again. It opens at once, whatever is away: `health` says what, and each part
    connects by itself when it comes back."""
    ingress_id = f"{re.sub(r'[^A-Za-z0-9_-]', '-', settings.name)[:48]}-{secrets.token_hex(4)}"
    patience = settings.probe_timeout.total_seconds()
    redis = connect(settings.redis_url, patience=settings.probe_timeout)
    producer = Producer(settings.kafka_url, ingress_id, settings.produce_timeout, settings.max_completion_bytes)
    registry = Registry(settings.topics, settings.keys)
    metrics.gauge("sse_open_streams")  # there from the start: no stream is 0, not unknown
    admission = Admission(settings.max_concurrent_requests, settings.redis_memory_share)

    async def probe_redis() -> None:
        admission.memory = await memory_pressure(redis)
        await registry.refresh(redis)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.aclose)
        stack.push_async_callback(producer.stop)
        pool = await stack.enter_async_context(
            # No connection until the first query: the house opens although Postgres is away.
            asyncpg.create_pool(
                settings.postgres_url,
                min_size=0,
                max_size=8,
                timeout=patience,
                command_timeout=10,
                reset=leave_as_it_is,
            )
        )
        subscriber = await stack.enter_async_context(
            Subscriber(redis, settings.keys, ingress_id, on_gap=metrics.counter("stream_gaps").inc)
        )

        open_without = settings.insecure or is_loopback(settings.http_host)
        keyring = Keyring(pool, settings.key_secret.get_secret_value(), open_without, settings.key_patience)
        health = Health(
            {"redis": probe_redis, "kafka": producer.probe, "postgres": keyring.refresh},
            settings.probe_every,
            settings.probe_timeout,
        )
        allowances = await stack.enter_async_context(
            Allowances(
                RateLimits(redis, settings.keys, settings.limit_lease), keyring, subscriber, settings.reserved_tokens
            )
        )
        repeats = Repeats(
            redis, settings.keys, most_bytes=settings.idempotency_bytes, most=settings.idempotency_answers
        )
        repeating = await stack.enter_async_context(Repeating(repeats, subscriber, settings, ingress_id))
        house = House(
            settings=settings,
            ingress_id=ingress_id,
            redis=redis,
            gate=Gate(redis, settings.keys),
            subscriber=subscriber,
            pool=pool,
            producer=producer,
            registry=registry,
            health=health,
            admission=admission,
            keyring=keyring,
            allowances=allowances,
            repeating=repeating,
            metrics=metrics,
        )
        await asyncio.gather(*(health.ask(name) for name in health.problems))
        await stack.enter_async_context(
            running(
                *health.watches(),
                registry.follow(settings),
                IngressHeartbeat(
                    redis, settings.keys, ingress_id, settings.heartbeat_interval, settings.ingress_ttl
                ).run(),
            )
        )
        yield house


@asynccontextmanager
async def running(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these beside the body; cancel and await them at its end. One that dies is logged: the rest goes on."""
    tasks = [asyncio.create_task(loop, name=getattr(loop, "__qualname__", None)) for loop in loops]
    for task in tasks:
        task.add_done_callback(_report)
    try:
        yield
    finally:
        await cancel_all(tasks)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s died", task.get_name(), exc_info=error)
