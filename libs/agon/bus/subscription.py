"""A subscription whose records are finished one by one, in any order: the in-flight tracker on a real consumer."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faststream.kafka import KafkaBroker

from agon.bus.broker import subscribe
from agon.bus.clients import Record, commit
from agon.bus.in_flight import Delivery, InFlight
from agon.settings import MIB, Settings

_log = logging.getLogger(__name__)

OnRecord = Callable[[Delivery, Record], None]


class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]
    """One topic in one group. `on_record` gets each record and must return at once; `finish` ends a delivery.

    `run` commits each second until cancelled; `hold` stops the flow of new records, whatever the reason, and partitions
    with too much between their mark and their newest record are paused by themselves. Nothing is committed but marks.
    """

    def __init__(
        self,
        broker: KafkaBroker,
        settings: Settings,
        topic: str,
        *,
        group: str,
        on_record: OnRecord,
        window: int,
        fetch_bytes: int = MIB,
        commit_every: timedelta = timedelta(seconds=1),
        commit_timeout: timedelta = timedelta(seconds=2),
    ) -> None:
        self.topic = topic
        self._on_record = on_record
        self._in_flight = InFlight(window)
        self._every = commit_every.total_seconds()
        self._timeout = commit_timeout.total_seconds()
        self._held = False
        self._paused = False
        """Any partition."""
        self._joined = False
        self._committing = asyncio.Lock()
        self._subscriber = subscribe(
            broker, settings, topic, group=group, handler=self._receive, listener=self, fetch_bytes=fetch_bytes
        )

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that we hold at the moment."""
        consumer = self._consumer
        return frozenset(where.partition for where in consumer.assignment()) if consumer else frozenset()

    @property
    def joined(self) -> bool:
        """The group has given us our share at least once, however small it was."""
        return self._joined

    @property
    def held(self) -> bool:
        """No new records are taken."""
        return self._held

    @property
    def unfinished(self) -> int:
        return self._in_flight.unfinished

    def finish(self, delivery: Delivery) -> None:
        """This record needs no more work; its offset is committed once all before it are finished too."""
        self._in_flight.finish(delivery)
        self._apply_pauses()

    def hold(self, held: bool) -> None:
        """Take no new records (True) or go on taking them (False)."""
        if held != self._held:
            self._held = held
            self._apply_pauses()

    async def run(self) -> None:
        """Commit what has moved, each second."""
        while True:
            await asyncio.sleep(self._every)
            await self.commit()

    async def commit(self) -> None:
        """Commit the marks of the partitions that are ours. Never raises for a broker that is away or a group that has
        moved on: then the records are delivered again, to us or to somebody else."""
        async with self._committing:
            consumer = self._consumer
            if consumer is None:
                return
            ours = consumer.assignment()
            marks = {where: mark for where, mark in self._in_flight.marks().items() if where in ours}
            if not marks:
                return
            try:
                await commit(consumer, marks, self._timeout)
            except (CommitFailedError, IllegalStateError):
                _log.debug("the partitions of %s have moved; somebody else commits them", self.topic)
            except (KafkaError, TimeoutError) as error:
                _log.warning("offsets of %s are not committed yet: %r", self.topic, error)
            else:
                self._in_flight.committed(marks)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called by the consumer before each rebalance, with all that it holds: rebalances are eager."""
        await self.commit()
        self._in_flight.revoke(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called by the consumer after each rebalance. A new assignment starts unpaused."""
        self._joined = True
        _log.debug("%s: partitions %s", self.topic, sorted(where.partition for where in assigned))
        self._apply_pauses()

    async def _receive(self, record: Record) -> None:
        delivery = self._in_flight.deliver(record.topic, record.partition, record.offset)
        self._apply_pauses()
        self._on_record(delivery, record)

    def _apply_pauses(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        full = self._in_flight.full()
        if not (self._held or full or self._paused):
            return  # as nearly always
        ours = consumer.assignment()
        wanted = set(ours) if self._held else full & ours
        paused = consumer.paused() & ours
        if wanted - paused:
            consumer.pause(*(wanted - paused))
        if paused - wanted:
            consumer.resume(*(paused - wanted))
        self._paused = bool(wanted)

    @property
    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer
