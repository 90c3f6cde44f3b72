"""One worker: how its parts are put together, started in order, drained and stopped."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from agon.backends import Backend
from agon.bus.broker import make_broker
from agon.bus.clients import Record
from agon.bus.dead_letters import DeadLetters
from agon.bus.in_flight import Delivery
from agon.bus.subscription import Subscription
from agon.errors import SetupError
from agon.settings import MIB
from agon.stream.gate import Gate
from agon.stream.heartbeat import Load, Report, WorkerHeartbeat
from agon.tasks import cancel_all
from agon.telemetry import Metrics
from agon.topics import slug
from agon_inference.adapters import Adapters
from agon_inference.control import Control
from agon_inference.courtesy import Courtesy
from agon_inference.decoding import Limits
from agon_inference.ending import Ending
from agon_inference.flow import Flow, Hands
from agon_inference.held import Held
from agon_inference.holding import Holding
from agon_inference.intake import Intake
from agon_inference.meter import LoadMeter
from agon_inference.models import Models
from agon_inference.retrying import AWAY, Patience
from agon_inference.settings import InferenceSettings
from agon_inference.watching import Watch
from agon_inference.writer import Writer

_log = logging.getLogger(__name__)
_PROBE_SECONDS = 2.0
_LOOK_SECONDS = 0.1
# The batch topic is held and let go again and again, and each time what was fetched ahead is fetched anew.
_BATCH_FETCH_BYTES = 8 * 1024


class Worker:
    """Serves `backends` from `start` to `stop`. The requests in its hands are in `held`, by `tenant/request_id`."""

    def __init__(
        self,
        settings: InferenceSettings,
        backends: Mapping[str, Backend],
        redis: Redis,
        producer: AIOKafkaProducer,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._load_meters: dict[str, LoadMeter] = {}
        self._redis = redis
        self._draining = False
        self._tasks: list[asyncio.Task[None]] = []
        self._reading: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self.held = Holding()
        self.heartbeat = WorkerHeartbeat(
            settings.redis_url,
            settings.keys,
            settings.name,
            self._report,
            interval=settings.heartbeat_interval,
            ttl=settings.worker_ttl,
        )
        owner = self.heartbeat.owner
        gate = Gate(redis, settings.keys)
        self._courtesy = Courtesy(settings.batch_patience)
        self._patience = Patience(settings.retry_interval, settings.call_timeout)
        self._writer = Writer(gate, owner, self.held, self._patience, metrics, ended=self._ended, fenced=self._fenced)
        self._models = Models(backends, self._writer.emit, self._writer.push)
        self._writer.attach(self._models)
        self._adapters = Adapters(settings, self._models)
        self._ending = Ending(
            gate,
            producer,
            settings.topics,
            settings.name,
            self._patience,
            metrics,
            max_bytes=settings.max_completion_bytes,
            cards=self._models.cards,
            forget=self._forget,
        )
        self._intake = Intake(
            gate,
            owner,
            self.held,
            self._models,
            self._writer,
            self._ending,
            self._patience,
            metrics,
            limits=Limits(settings.max_request_bytes, settings.default_deadline, settings.longest_deadline),
            parked_interval=settings.parked_interval,
            changed=self._adjust,
        )
        self._watch = Watch(redis, settings.keys, self.held, self._writer, settings, self._look)
        self._control = Control(redis, settings.keys, lambda: self._models.names, self.held, self._writer)
        self._broker = make_broker(settings)
        self._flows = {model: self._subscribe(model, producer) for model in self._models.hosts}

    # Life

    async def start(self) -> None:
        """Be alive, then able, then reading."""
        await asyncio.to_thread(self.heartbeat.start)
        await self._models.start()
        self._start(
            self._writer.run(), self._watch.run(), self._control.run(), self._adapters.run(), self._be_courteous()
        )
        # Requests for adapters may be on the topics already.
        await _at_most(self._settings.startup_timeout, self._adapters.settled.wait())
        await self._broker.start()
        self._start(self._ending.broken())
        (self._reading,) = self._start(self._intake.run())
        self._start(*(subscription.run() for flow in self._flows.values() for subscription in flow.subscriptions))

    async def failed(self) -> None:
        """Return only by raising: what a part of the worker died of, or how a model was lost."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self, drain: bool = True) -> None:
        """Leave the group at once, so that others read our partitions; let running requests end, for a bounded time;
        then let go of the rest, so that others resume them at once.

        What runs stays ours at the gate while we are alive: those who read our partitions wait for it.
        """
        self._draining = True
        for flow in self._flows.values():
            flow.hold()
            for subscription in flow.subscriptions:
                await subscription.commit()
        if self._reading is not None:
            self._reading.cancel()
        await self._broker.stop()
        if drain and self.held:
            _log.info("letting %d requests end", len(self.held))
            await _at_most(self._settings.drain_timeout, self._empty.wait())
        self._writer.close()
        await self._models.stop()
        await _at_most(self._settings.call_timeout, self._writer.settled())
        await self._ending.drain(self._settings.call_timeout)
        await cancel_all(self._tasks)
        await self._ending.close()
        await asyncio.to_thread(self.heartbeat.stop)
        if self.held:
            _log.info("%d requests are left for other workers", len(self.held))

    async def ready(self) -> Mapping[str, str | None]:
        """Each dependency, and what is wrong with it."""
        parts: dict[str, str | None] = {"redis": None, "kafka": None}
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._redis.ping()
        except AWAY as error:
            parts["redis"] = str(error) or type(error).__name__
        if not await self._broker.ping(timeout=_PROBE_SECONDS):
            parts["kafka"] = "no answer"
        for model, flow in self._flows.items():
            # A worker more than there are partitions is fine; one that is no member of its group is not.
            parts[model] = "stopping" if self._draining else None if flow.joined else "not in its consumer group yet"
        return parts

    # Reading

    def _subscribe(self, model: str, producer: AIOKafkaProducer) -> Flow:
        topics = self._settings.topics

        def subscription(topic: str, group: str, *, interactive: bool) -> Subscription:
            fetch_bytes = MIB if interactive else _BATCH_FETCH_BYTES
            letters = DeadLetters(producer, group, self._metrics, self._settings.call_timeout)

            def receive(delivery: Delivery, record: Record) -> None:
                if interactive:
                    self._courtesy.greet(time.monotonic())
                self._intake.receive(model, letters, made, delivery, record)

            made = Subscription(
                self._broker,
                self._settings,
                topic,
                group=group,
                on_record=receive,
                window=self._settings.window,
                fetch_bytes=fetch_bytes,
            )
            return made

        # A group each: in a common one, whoever joins for one topic would stop the flow of the other.
        return Flow(
            subscription(topics.requests(model), topics.group(f"inference.{slug(model)}"), interactive=True),
            subscription(
                topics.batch_requests(model), topics.group(f"inference.batch.{slug(model)}"), interactive=False
            ),
        )

    def _adjust(self) -> None:
        """Our hands may be fuller or emptier: hold topics, or let them go."""
        if self._draining:
            return
        counts: Counter[str] = Counter()
        for model, count in self.held.models.items():
            counts[self._models.host(model)] += count
        room = self._courtesy.room(time.monotonic())
        size = self._intake.bytes + self.held.bytes
        for model, flow in self._flows.items():
            flow.adjust(
                Hands(
                    count=counts[model] + self._intake.arrived[model],
                    capacity=self._models.load(model).capacity,
                    full_bytes=size >= self._settings.max_held_bytes,
                    away=self._patience.away,
                    batch=flow.batch.unfinished,
                    batch_room=room,
                )
            )

    async def _be_courteous(self) -> None:
        """See, for ever, whether interactive requests would have to wait for those of batches."""
        while True:
            due = time.monotonic() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            taken = max((flow.batch.unfinished for flow in self._flows.values()), default=0)
            self._courtesy.look(time.monotonic() - due, self._models.slowest_step(), taken)
            self._adjust()

    # What becomes of requests

    def _forget(self, held: Held) -> None:
        if self.held.get(held.key) is held:
            del self.held[held.key]
        if not self.held:
            self._empty.set()
        self._adjust()

    def _ended(self, held: Held) -> None:
        self._ending.end(held)

    def _fenced(self, held: Held) -> None:
        """Another worker has it. Its record may still be ours to finish, once that worker has."""
        self._forget(held)
        self._intake.park(held.taken)

    # What is told about us

    def _report(self) -> Report:
        """For the heartbeat, in its thread. A worker that drains serves nothing any more."""
        if self._draining:
            return Report()
        loads = {model: self._models.load(model) for model in self._models.names}
        return Report(
            models={model: Load(load.running, load.waiting, load.capacity) for model, load in loads.items()},
            partitions={topic: held for flow in self._flows.values() for topic, held in flow.partitions().items()},
        )

    def _look(self) -> None:
        for model, flow in self._flows.items():
            if model not in self._load_meters:
                self._load_meters[model] = LoadMeter(self._metrics, model)
            load = self._models.load(model)
            if load.lost:
                raise SetupError(f"the model {model} is lost: {load.lost}")
            self._load_meters[model].look(load)
            for subscription in flow.subscriptions:
                self._metrics.gauge("in_flight").labels(subscription.topic).set(subscription.unfinished)
        self._adjust()

    def _start(self, *loops: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(loop) for loop in loops]
        self._tasks += tasks
        return tasks


async def _at_most(limit: timedelta, awaited: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit.total_seconds()):
            await awaited
