"""Consuming for services whose offsets are stored in Postgres, in the transaction that stores the records.

Kafka says which partitions are ours; where each goes on is asked of the store. What is committed to Kafka is a hint for
people who look at lag.

    assigned ─take─▶ held ─read─▶ items ─store(items, moves)─▶ held, moved on
       ▲                │            │        │ transient: again, with back-off, the partition waits
       └────Fenced──────┘            │        │ poison: halves, until the record is found
                                     ▼        ▼
                                  dead letter (one for each bad record)
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from pydantic import ValidationError

from agon.bus.clients import Record, commit, not_served, servers
from agon.bus.dead_letters import DeadLetters
from agon.errors import Fenced, InvalidRequest, SetupError
from agon.messages import Message
from agon.settings import Settings
from agon.tasks import cancel_all

_log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
M = TypeVar("M", bound=Message)
Partition = tuple[str, int]

_POLL_MS = 500
# A broker is asked for one answer at a time. One that waits for partitions in which nothing happens keeps all others
# waiting, so it must not wait long.
_GATHER_MS = 50
_COMMIT_EVERY, _COMMIT_TIMEOUT = 1.0, 2.0
_BACK_OFF = (0.05, 5.0)  # seconds: the first pause, and the longest
_CALL_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Move:
    """A partition goes from the stored offset `expected` to `next`, the first offset that was not read."""

    topic: str
    partition: int
    expected: int
    next: int


class Keeper(Protocol):
    """Who keeps the offsets."""

    async def take(self, starts: Mapping[Partition, int]) -> dict[Partition, int]:
        """Fence off former holders and answer where each partition goes on; `starts` where nothing is stored yet."""


Read = Callable[[Record], T]
"""Turns a record into an item. Raises `InvalidRequest`, its code being the dead letter's reason. Pure."""
Store = Callable[[Sequence[T], Sequence[Move]], Awaitable[None]]
"""Stores items and moves in one transaction, or neither. Raises `Fenced` for moves of somebody else's partitions."""
Classify = Callable[[Exception], Literal["transient", "poison", "bug"]]


def reader(message: type[M]) -> Read[M]:
    """Reads records that carry one type of message as JSON."""
    return reading(message.decode)


def reading(decode: Callable[[bytes], T]) -> Read[T]:
    """Reads records with `decode`, which raises pydantic's `ValidationError`."""

    def read(record: Record) -> T:
        if record.value is None:
            raise InvalidRequest("the record is empty", code="invalid_json")
        try:
            return decode(record.value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            code = "invalid_json" if first["type"].startswith("json") else "wrong_type"
            raise InvalidRequest(f"{where}: {first['msg']}", code=code) from error

    return read


class BatchConsumer(ConsumerRebalanceListener, Generic[T]):  # type: ignore[misc]
    """Reads topics as one group and stores them batch by batch. `run` once, `stop` to end it after the current batch.
    Kafka gathers records until there are `enough` bytes, 50 ms at most: under a steady stream a few larger transactions
    cost much less than many small ones. A batch has at most `most` records.

    `run` raises what `classify` calls a bug, and `SetupError` when Kafka does not answer at the start or refuses for
    good; all else is left to time: records wait in Kafka while the store is away.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Sequence[str],
        *,
        group: str,
        keeper: Keeper,
        read: Read[T],
        store: Store[T],
        classify: Classify,
        dead_letters: DeadLetters,
        most: int = 500,
        enough: int = 1,
    ) -> None:
        self._kafka_url = settings.kafka_url
        self._topics = topics
        self._group = group
        self._keeper = keeper
        self._read = read
        self._store = store
        self._classify = classify
        self._dead_letters = dead_letters
        self._most = most
        self._stopping = asyncio.Event()
        self._unclaimed: set[TopicPartition] = set()
        self._stored: dict[TopicPartition, int] = {}  # what the keeper has, of the partitions that we hold
        self._position: dict[TopicPartition, int] = {}  # the next offset to read; differs only before the first batch
        self._committed = 0.0
        self._problem: str | None = "not connected to Kafka yet"
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=servers(settings.kafka_url),
            client_id=settings.name,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(settings.session_timeout.total_seconds() * 1000),
            heartbeat_interval_ms=int(settings.session_timeout.total_seconds() * 1000 / 4),
            fetch_max_wait_ms=_GATHER_MS,
            fetch_min_bytes=enough,
            metadata_max_age_ms=30_000,
        )

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions that we hold: assigned by Kafka and taken from the store."""
        return frozenset((where.topic, where.partition) for where in self._stored)

    @property
    def problem(self) -> str | None:
        """What is in the way at the moment, None where records flow."""
        return self._problem

    def stop(self) -> None:
        """Ask `run` to return: what is being stored is finished, the rest stays in Kafka."""
        self._stopping.set()

    async def run_with(self, *others: Coroutine[Any, Any, None]) -> None:
        """`run`, and beside it what never returns by itself: cancelled at the end, and the end for all if it fails."""
        tasks = [asyncio.create_task(other) for other in others]
        for task in tasks:
            task.add_done_callback(lambda _: self.stop())
        try:
            await self.run()
        finally:
            await cancel_all(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def run(self) -> None:
        self._consumer.subscribe(list(self._topics), listener=self)
        try:
            async with asyncio.timeout(_CALL_TIMEOUT * 3):
                await self._consumer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._consumer.stop()
            raise not_served(self._kafka_url, error) from error
        self._problem = None
        try:
            while not self._stopping.is_set():
                await self._round()
            await self._commit(force=True)
        finally:
            await self._consumer.stop()

    async def _round(self) -> None:
        await self._claim()
        records = await self._poll()
        try:
            if records:
                await self._take_in(records)
        except Fenced as error:
            _log.warning("%s; taking stock again", error)
            self._unclaimed |= set(self._stored)
            self._stored.clear()
            self._position.clear()
            await self._pause(_BACK_OFF[0])
        await self._commit()

    # -- which partitions, from where

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """A batch that is being stored meanwhile is stored or fenced, both are right."""
        for where in revoked:
            self._unclaimed.discard(where)
            self._stored.pop(where, None)
            self._position.pop(where, None)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._unclaimed |= assigned

    async def _claim(self) -> None:
        wanted = set(self._unclaimed)
        if not wanted:
            return

        async def ask() -> tuple[dict[TopicPartition, int], dict[TopicPartition, int], dict[Partition, int]]:
            async with asyncio.timeout(_CALL_TIMEOUT):
                first = await self._consumer.beginning_offsets(list(wanted))
                last = await self._consumer.end_offsets(list(wanted))
            return first, last, await self._keeper.take({(w.topic, w.partition): first[w] for w in wanted})

        answer = await self._persist(ask, "taking partitions")
        if answer is None:
            return
        first, last, taken = answer
        for where in wanted & self._unclaimed:
            stored = taken[where.topic, where.partition]
            position = stored
            if not first[where] <= stored <= last[where]:
                position = first[where]
                _log.warning(
                    "%s/%d was read up to %d, but holds %d to %d: going on at %d",
                    *(where.topic, where.partition, stored, first[where], last[where], position),
                )
            try:
                self._consumer.seek(where, position)
            except IllegalStateError:
                continue  # it has moved to somebody else meanwhile
            self._unclaimed.discard(where)
            self._stored[where], self._position[where] = stored, position

    async def _poll(self) -> list[Record]:
        """New records of held partitions, each partition's in order. Nothing after a while, or when asked to stop."""
        polling = asyncio.ensure_future(self._consumer.getmany(timeout_ms=_POLL_MS, max_records=self._most))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not polling.done():
                return []
            try:
                fetched = polling.result()
            except KafkaError as error:
                if not error.retriable:  # the client does not recover from these by itself
                    raise SetupError(f"Kafka can't be read any more: {error!r}") from error
                _log.warning("reading failed, trying again: %r", error)
                await self._pause(_BACK_OFF[0])
                return []
        finally:
            for task in (polling, stopping):
                task.cancel()
            await asyncio.gather(polling, stopping, return_exceptions=True)
        # Until a partition is claimed it may stand anywhere: what was fetched before the seek is fetched again.
        return [
            record
            for where, records in fetched.items()
            if (position := self._position.get(where)) is not None
            for record in records
            if record.offset >= position
        ]

    # -- what becomes of the records

    async def _take_in(self, records: Sequence[Record]) -> None:
        read: list[tuple[Record, T]] = []
        for record in records:
            try:
                read.append((record, self._read(record)))
            except InvalidRequest as error:
                await self._bury(record, error.code or "invalid", error.message)
        if not self._stopping.is_set():
            await self._put(read, self._ends(records))

    async def _put(self, read: Sequence[tuple[Record, T]], ends: Mapping[TopicPartition, int]) -> None:
        """Store these items and move on to `ends`."""
        items = [item for _, item in read]

        async def attempt() -> bool:
            moves = [
                Move(where.topic, where.partition, self._stored[where], end)
                for where, end in ends.items()
                if where in self._stored
            ]
            if len(moves) < len(ends):
                raise Fenced("partitions were revoked while their records waited")
            await self._store(items, moves)
            return True

        try:
            done = await self._persist(attempt, "storing a batch")
        except InvalidRequest as error:
            await self._find_poison(read, ends, error)
            return
        if done:
            for where, end in ends.items():
                if where in self._stored:
                    self._stored[where] = self._position[where] = end

    async def _find_poison(
        self, read: Sequence[tuple[Record, T]], ends: Mapping[TopicPartition, int], error: InvalidRequest
    ) -> None:
        """Some record can't be stored: try halves in order, so that only that one is moved aside."""
        if not read:
            raise error
        if len(read) == 1:
            await self._bury(read[0][0], error.code or "not_storable", error.message)
            if not self._stopping.is_set():  # else it may not be buried, and must come again
                await self._put([], ends)
            return
        half = len(read) // 2
        await self._put(read[:half], self._ends([record for record, _ in read[:half]]))
        if not self._stopping.is_set():
            await self._put(read[half:], ends)

    async def _bury(self, record: Record, reason: str, error: str) -> None:
        _log.warning("%s/%d/%d is unreadable: %s", record.topic, record.partition, record.offset, error)

        async def attempt() -> None:
            await self._dead_letters.bury(record, reason, error)

        await self._persist(attempt, "writing a dead letter")

    @staticmethod
    def _ends(records: Sequence[Record]) -> dict[TopicPartition, int]:
        last = {(record.topic, record.partition): record.offset for record in records}
        return {TopicPartition(*where): offset + 1 for where, offset in last.items()}

    # -- time

    async def _persist(self, call: Callable[[], Awaitable[R]], what: str) -> R | None:
        """The call's answer, tried until it succeeds; None when asked to stop meanwhile. Raises `Fenced`, a bug, and
        poison as `InvalidRequest`."""
        pause = _BACK_OFF[0]
        while True:
            try:
                answer = await call()
                self._problem = None
                return answer
            except Fenced:
                raise
            except Exception as error:
                kind = "transient" if isinstance(error, KafkaError | TimeoutError) else self._classify(error)
                if kind == "poison":
                    if isinstance(error, InvalidRequest):
                        raise
                    raise InvalidRequest(f"it can't be stored: {error}", code="not_storable") from error
                if kind == "bug":
                    raise
                self._problem = f"{what} fails: {error!r}"
                _log.warning("%s failed, trying again in %.2f s: %r", what, pause, error)
                await self._pause(pause)
                if self._stopping.is_set():
                    return None
                pause = min(pause * 2, _BACK_OFF[1])

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _commit(self, force: bool = False) -> None:
        """Tell Kafka, at most once a second. Not needed by anybody who reads, so a failure is none."""
        if not self._position or (not force and time.monotonic() - self._committed < _COMMIT_EVERY):
            return
        self._committed = time.monotonic()
        ours = self._consumer.assignment()
        try:
            await commit(
                self._consumer, {where: at for where, at in self._position.items() if where in ours}, _COMMIT_TIMEOUT
            )
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError) as error:
            _log.debug("offsets are not committed to Kafka: %r", error)


__all__ = ["BatchConsumer", "Keeper", "Move", "Read", "Store", "reader"]
