"""An ingress on a real port, and a worker made of the real gate, heartbeat and Kafka that says what a test tells it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from openai import AsyncOpenAI

from agon.messages import GenerationRequest, ModelCard, now
from agon.stream.connection import connect
from agon.stream.frames import Admission, Body, Delta, End, out
from agon.stream.gate import Answer, Append, Claiming, Gate, Yours
from agon.stream.heartbeat import Load, Report, WorkerHeartbeat
from agon_ingress.app import create_app
from agon_ingress.house import House
from agon_ingress.http.server import listen, make_server
from agon_ingress.settings import IngressSettings
from support.waiting import eventually

MODEL = "fake/model-1"
PARTITIONS = 4
# A machine that is busy with other tests, or stands still for a while, is no outage.
PATIENT = {"probe_timeout": 30, "produce_timeout": 30, "key_patience": 60, "head_timeout": 60, "worker_ttl": 60}


class Telling:
    """One claimed request, as a script sees it."""

    def __init__(self, gate: Gate, owner: str, request: GenerationRequest, attempt: int, source: str) -> None:
        self.request = request
        self.source = source
        self.cancelled = asyncio.Event()
        self.said = 0
        self._gate = gate
        self._owner = owner
        self._attempt = attempt
        self._at = [0] * request.n

    async def admit(self, prompt_tokens: int = 3) -> None:
        await self._write([(0, Admission(self._owner, prompt_tokens, 1, time.time()))])

    async def say(self, text: str, choice: int = 0, finish: str | None = None) -> Answer:
        """One token; returns the gate's answer, and notes when that is `CANCELLED`."""
        return await self._write([(choice, Delta((len(text) + 1,), text, finish))])

    async def end(self, status: str = "finished", message: str | None = None, code: str | None = None) -> None:
        kind = None if message is None else "server_error"
        await self._write([(0, End(status, 3, sum(self._at), 1, time.time(), message, kind, code))])

    async def _write(self, bodies: list[tuple[int, Body]]) -> Answer:
        outs = []
        for choice, body in bodies:
            at = self._at[choice] if isinstance(body, Delta) else 0
            outs.append(out(self.request.key, self._attempt, at, choice, body))
            self._at[choice] += isinstance(body, Delta)
        append = Append(self.request.tenant, self.request.request_id, self._attempt, self.request.reply_to, tuple(outs))
        (answer,) = await self._gate.append(self._owner, [append])
        if answer is Answer.CANCELLED:
            self.cancelled.set()
        else:
            self.said += 1
        return answer


Script = Callable[[Telling], Awaitable[None]]


async def hello(telling: Telling) -> None:
    """The plain answer: three tokens for each choice."""
    await telling.admit()
    for choice in range(telling.request.n):
        for text in ("Hello", " ", "wörld"):
            await telling.say(text, choice)
        await telling.say("", choice, "stop")
    await telling.end()


async def until_cancelled(telling: Telling) -> None:
    """Talks for ever, until it is told that nobody listens."""
    await telling.admit()
    while await telling.say("x ") is not Answer.CANCELLED:  # noqa: ASYNC110  the pace of its tokens
        await asyncio.sleep(0.01)
    await telling.end("cancelled", "cancelled", "cancelled")


@dataclass
class FakeWorker:
    """`script` may be exchanged at any time; `tellings` has all requests so far."""

    settings: IngressSettings
    script: Script = hello
    models: tuple[str, ...] = (MODEL,)
    tellings: list[Telling] = field(default_factory=list)
    heartbeat: WorkerHeartbeat | None = None
    working: "asyncio.Task[None] | None" = None

    async def telling(self, number: int = 0) -> Telling:
        """The request with this number, once it is there."""
        await eventually(lambda: len(self.tellings) > number or (self.working is not None and self.working.done()))
        if len(self.tellings) <= number and self.working is not None:
            self.working.result()  # what it died of
        return self.tellings[number]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeWorker"]:
        topics = [self.settings.topics.requests(model) for model in self.models]
        report = Report(dict.fromkeys(self.models, Load(0, 0, 8)), {topic: list(range(PARTITIONS)) for topic in topics})
        self.heartbeat = WorkerHeartbeat(
            self.settings.redis_url, self.settings.keys, "fake", lambda: report, ttl=self.settings.worker_ttl
        )
        redis = connect(self.settings.redis_url)
        consumer = AIOKafkaConsumer(*topics, bootstrap_servers=self.settings.kafka_url, auto_offset_reset="earliest")
        self.heartbeat.start()
        await consumer.start()
        self.working = asyncio.create_task(self._work(consumer, Gate(redis, self.settings.keys), self.heartbeat.owner))
        try:
            yield self
        finally:
            self.working.cancel()
            with suppress(asyncio.CancelledError):
                await self.working
            await consumer.stop()
            await asyncio.to_thread(self.heartbeat.stop)
            await redis.aclose()

    async def _work(self, consumer: AIOKafkaConsumer, gate: Gate, owner: str) -> None:
        async with asyncio.TaskGroup() as group:
            async for record in consumer:
                request = GenerationRequest.decode(record.value)
                source = f"{record.topic}/{record.partition}/{record.offset}"
                (claim,) = await gate.claim([Claiming(request.tenant, request.request_id, source, "d", owner)])
                if not isinstance(claim, Yours):
                    continue  # it was there before: another record, or this one, read again after an error of Kafka's
                self.tellings.append(Telling(gate, owner, request, claim.attempt, source))
                group.create_task(self.script(self.tellings[-1]))  # type: ignore[arg-type]


@dataclass
class Ingress:
    """A running ingress: its address, its house, and an official client that checks what it gets."""

    port: int
    house: House
    client: AsyncOpenAI

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serves(self) -> bool:
        """A chat would be taken: the registry is read, and a worker is alive."""
        registry = self.house.registry
        return registry.loaded.is_set() and bool(registry.served())


async def make_topics(settings: IngressSettings, *models: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_url)
    await admin.start()
    made = [
        NewTopic(settings.topics.models, 1, 1, topic_configs={"cleanup.policy": "compact"}),
        *(NewTopic(settings.topics.requests(model), PARTITIONS, 1) for model in models or (MODEL,)),
        *(NewTopic(name, 1, 1) for name in (settings.topics.battles, settings.topics.votes)),
    ]
    try:
        await admin.create_topics(made)
        while True:  # what was made a moment ago need not be known yet to those who ask for it
            known = {topic["topic"] for topic in await admin.describe_topics() if not topic["error_code"]}
            if {topic.name for topic in made} <= known:
                break
            await asyncio.sleep(0.02)
    finally:
        await admin.close()


async def register(settings: IngressSettings, model: str = MODEL, **fields: Any) -> None:
    """Put a model into the registry."""
    card = ModelCard(
        model=model, digest="sha256:0123456789abcdef", backend="scripted", context_length=64, created_at=now(), **fields
    )
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_url) as producer:
        await producer.send_and_wait(settings.topics.models, card.encode(), key=model.encode())


@asynccontextmanager
async def serving(settings: IngressSettings) -> AsyncIterator[Ingress]:
    """An ingress within this process, on a free port."""
    app = create_app(settings)
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    server = make_server(app, settings.drain_timeout, lifespan=True)
    task = asyncio.create_task(server.serve([sock]))
    async with AsyncOpenAI(
        base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        await eventually(lambda: server.started or task.done())
        try:
            yield Ingress(port, app.state.house, client)
        finally:
            server.should_exit = True
            await task


class MakeSettings(Protocol):
    def __call__(self, **changes: Any) -> IngressSettings: ...


@pytest.fixture
def make_settings(
    kafka_url: str, redis_url: str, database_url: str, topic_prefix: str, key_prefix: str
) -> MakeSettings:
    """Settings on the tests' servers."""

    def make(**changes: Any) -> IngressSettings:
        servers = {"kafka_url": kafka_url, "redis_url": redis_url, "postgres_url": database_url}
        prefixes = {"topic_prefix": topic_prefix, "key_prefix": key_prefix}
        return IngressSettings(**{**servers, **prefixes, **PATIENT, "name": "ingress-t", "drain_timeout": 1, **changes})

    return make


@pytest.fixture
def settings(make_settings: MakeSettings) -> IngressSettings:
    return make_settings()


@pytest.fixture
async def worker(settings: IngressSettings) -> AsyncIterator[FakeWorker]:
    """A registered model and a live worker that says hello."""
    await make_topics(settings)
    await register(settings)
    async with FakeWorker(settings).running() as running:
        yield running


@pytest.fixture
async def ingress(settings: IngressSettings, worker: FakeWorker) -> AsyncIterator[Ingress]:
    """An ingress that knows the worker."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(serving(settings))
        await eventually(running.serves)
        yield running
