"""Batches from a real Kafka into a store that fails in every way it can."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from aiokafka import AIOKafkaProducer

from agon.bus import topic_admin
from agon.bus.batches import BatchConsumer, Move
from agon.bus.clients import Record
from agon.bus.dead_letters import PREFIX, DeadLetters
from agon.errors import Fenced, InvalidRequest
from agon.settings import Settings
from agon.telemetry import Metrics
from support.voting import eventually, producing, records

pytestmark = pytest.mark.servers


class Memory:
    """Keeps offsets and items as a database would: a batch and its moves together, or neither."""

    def __init__(self) -> None:
        self.offsets: dict[tuple[str, int], int] = {}
        self.items: list[str] = []
        self.failures: list[Exception] = []
        self.batches = 0
        self.takes = 0

    async def take(self, starts: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        self.takes += 1
        return {where: self.offsets.setdefault(where, start) for where, start in starts.items()}

    async def store(self, items: Sequence[str], moves: Sequence[Move]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        if any("poison" in item for item in items):
            raise ValueError("it tastes bad")
        for move in moves:
            if self.offsets[move.topic, move.partition] != move.expected:
                raise Fenced("somebody else was here")
        self.batches += 1
        self.items += items
        self.offsets |= {(move.topic, move.partition): move.next for move in moves}


def classify(error: Exception) -> Literal["transient", "poison", "bug"]:
    if isinstance(error, OSError):
        return "transient"
    return "poison" if isinstance(error, ValueError) else "bug"


def read(record: Record) -> str:
    text = (record.value or b"").decode("utf-8", "replace")
    if text.startswith("bad"):
        raise InvalidRequest("nobody can read this", code="invalid_json")
    return text


class Bench:
    """One topic, one store, and consumers of it."""

    def __init__(self, kafka_url: str, prefix: str, producer: AIOKafkaProducer) -> None:
        self.settings = Settings(kafka_url=kafka_url, topic_prefix=prefix)
        self.topic = self.settings.topics.votes
        self.producer = producer
        self.memory = Memory()

    def consumer(self, dead_letters: DeadLetters | None = None) -> BatchConsumer[str]:
        group = self.settings.topics.group("bench")
        return BatchConsumer(
            self.settings,
            [self.topic],
            group=group,
            keeper=self.memory,
            read=read,
            store=self.memory.store,
            classify=classify,
            dead_letters=dead_letters or DeadLetters(self.producer, group, Metrics()),
            most=50,
        )

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[BatchConsumer[str]]:
        consumer = self.consumer()
        task = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            consumer.stop()
            await task

    async def send(self, *values: str) -> None:
        for value in values:
            await self.producer.send_and_wait(self.topic, value.encode(), partition=0)

    async def has(self, *items: str) -> None:
        async def there() -> bool:
            return self.memory.items == list(items)

        await eventually(f"{items} are stored, in order; there are {self.memory.items}", there)

    async def letters(self) -> list[tuple[bytes, str]]:
        found = await records(self.settings.kafka_url, self.settings.topics.dead_letters(self.topic))
        return [(record.value, dict(record.headers)[f"{PREFIX}error-type"].decode()) for record in found]


@pytest.fixture
async def bench(kafka_url: str, topic_prefix: str) -> AsyncIterator[Bench]:
    await topic_admin.apply(kafka_url, topic_prefix)
    async with producing(kafka_url) as producer:
        yield Bench(kafka_url, topic_prefix, producer)


async def test_records_from_before_the_first_consumer_are_stored_in_order(bench: Bench) -> None:
    values = [f"v{n}" for n in range(200)]
    await bench.send(*values)
    async with bench.consuming():
        await bench.has(*values)
    assert bench.memory.batches < 100  # in batches, not one by one
    assert bench.memory.offsets[bench.topic, 0] == 200


async def test_a_restart_goes_on_where_the_store_is_whatever_kafka_thinks(bench: Bench) -> None:
    await bench.send("v0", "v1", "v2", "v3")
    bench.memory.offsets[bench.topic, 0] = 2
    async with bench.consuming():
        await bench.has("v2", "v3")
    bench.memory.offsets[bench.topic, 0] = 1  # as after restoring a backup; Kafka's own commit is at 4
    async with bench.consuming():
        await bench.has("v2", "v3", "v1", "v2", "v3")


async def test_a_store_that_is_away_is_waited_for(bench: Bench) -> None:
    bench.memory.failures = [ConnectionError("gone"), TimeoutError("slow"), ConnectionError("gone")]
    async with bench.consuming() as consumer:
        await bench.send("v0", "v1")
        await bench.has("v0", "v1")
        assert consumer.problem is None
    assert await bench.letters() == []


async def test_one_bad_record_is_one_dead_letter_and_stops_nothing(bench: Bench) -> None:
    bench.memory.failures = [ConnectionError("gone")]  # a retry must not bury twice
    await bench.send("v0", "bad 1", "v1", "poison 1", "v2", "v3", "poison 2", "bad 2", "v4")
    async with bench.consuming():
        await bench.has("v0", "v1", "v2", "v3", "v4")

        async def all_buried() -> bool:
            return len(await bench.letters()) == 4 and bench.memory.offsets[bench.topic, 0] == 9

        await eventually("four dead letters", all_buried)
    assert sorted(await bench.letters()) == [
        (b"bad 1", "invalid_json"),
        (b"bad 2", "invalid_json"),
        (b"poison 1", "not_storable"),
        (b"poison 2", "not_storable"),
    ]


async def test_whoever_is_fenced_takes_stock_and_goes_on(bench: Bench) -> None:
    async with bench.consuming():
        await bench.send("v0")
        await bench.has("v0")
        bench.memory.offsets[bench.topic, 0] = 3  # another process has stored v1 and v2 in our name
        await bench.send("v1", "v2", "v3")
        await bench.has("v0", "v3")
    assert bench.memory.takes >= 2


async def test_a_bug_ends_it_and_moves_no_record(bench: Bench) -> None:
    bench.memory.failures = [KeyError("a programming error")]
    await bench.send("v0")
    with pytest.raises(KeyError):
        await bench.consumer().run()
    assert bench.memory.offsets[bench.topic, 0] == 0
    assert await bench.letters() == []


async def test_an_offset_that_the_topic_never_had_begins_again(bench: Bench) -> None:
    """The topic was made anew under a database that remembers the old one."""
    await bench.send("v0", "v1")
    bench.memory.offsets[bench.topic, 0] = 1000
    async with bench.consuming():
        await bench.has("v0", "v1")
    assert bench.memory.offsets[bench.topic, 0] == 2


async def test_two_consumers_share_the_partitions_and_store_each_record_once(bench: Bench) -> None:
    async def send(start: int) -> None:
        for n in range(start, start + 100):
            await bench.producer.send_and_wait(bench.topic, f"v{n}".encode(), partition=n % 4)

    async with bench.consuming() as first:
        await send(0)
        async with bench.consuming() as second:

            async def shared() -> bool:
                return len(first.partitions) == 2 and len(second.partitions) == 2

            await eventually("each holds two", shared)
            await send(100)
        await send(200)

        async def all_there() -> bool:
            return len(bench.memory.items) >= 300

        await eventually("all are stored", all_there)
    assert sorted(bench.memory.items) == sorted(f"v{n}" for n in range(300))


async def test_what_belongs_to_it_ends_with_it_and_fails_with_it(bench: Bench) -> None:
    ended: list[Any] = []

    async def beside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("beside")

    async def failing() -> None:
        raise KeyError("a programming error")

    with pytest.raises(KeyError):
        await bench.consumer().run_with(beside(), failing())
    assert ended == ["beside"]


async def test_a_record_is_not_passed_over_when_stopping_interrupts_its_burial(bench: Bench) -> None:
    await bench.send("poison 1", "v0")
    group = bench.settings.topics.group("bench")
    trying = asyncio.Event()

    class NoKafka(DeadLetters):
        async def bury(self, record: Record, reason: str, error: str) -> None:
            trying.set()
            raise TimeoutError

    consumer = bench.consumer(NoKafka(bench.producer, group, Metrics()))
    task = asyncio.create_task(consumer.run())
    await trying.wait()
    consumer.stop()
    await task
    assert bench.memory.offsets[bench.topic, 0] == 0
    async with bench.consuming():
        await bench.has("v0")
    assert await bench.letters() == [(b"poison 1", "not_storable")]
