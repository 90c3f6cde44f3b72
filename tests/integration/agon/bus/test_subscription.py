"""Records are finished in any order, and Kafka is told no more than what is finished; on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agon.bus.broker import make_broker
from agon.bus.clients import Record, make_producer
from agon.bus.dead_letters import DeadLetters
from agon.bus.in_flight import Delivery
from agon.bus.subscription import Subscription
from agon.settings import Settings
from agon.telemetry import Metrics
from agon.topics import Topics
from support.workers import eventually

pytestmark = pytest.mark.servers

GROUP = "g"


class Reader:
    """A member of the group that keeps what it gets until it is told to finish it."""

    def __init__(self, settings: Settings, topic: str, window: int = 100) -> None:
        self.got: list[tuple[Delivery, Record]] = []
        self.broker = make_broker(settings)
        self.subscription = Subscription(
            self.broker,
            settings,
            topic,
            group=settings.topics.group(GROUP),
            on_record=lambda delivery, record: self.got.append((delivery, record)),
            window=window,
        )

    def values(self) -> list[bytes | None]:
        return [record.value for _, record in self.got]

    def finish(self, *values: bytes) -> None:
        for delivery, record in self.got:
            if record.value in values:
                self.subscription.finish(delivery)


class Bus:
    def __init__(self, settings: Settings, topic: str, producer: AIOKafkaProducer, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.topic = topic
        self.producer = producer
        self._stack = stack

    async def send(self, *values: bytes, partition: int = 0, **options: Any) -> None:
        for value in values:
            await self.producer.send_and_wait(self.topic, value, partition=partition, **options)

    async def reader(self, window: int = 100) -> Reader:
        made = Reader(self.settings, self.topic, window)
        await made.broker.start()
        self._stack.push_async_callback(made.broker.stop)
        return made

    async def committed(self, partition: int = 0) -> int | None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_url,
            group_id=self.settings.topics.group(GROUP),
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            where = TopicPartition(self.topic, partition)
            consumer.assign([where])
            found: int | None = await consumer.committed(where)
            return found
        finally:
            await consumer.stop()


@asynccontextmanager
async def open_bus(kafka_url: str, prefix: str) -> AsyncIterator[Bus]:
    settings = Settings(kafka_url=kafka_url, topic_prefix=prefix, name="tester")
    topic = f"{prefix}records"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1), NewTopic(Topics.dead_letters(topic), 1, 1)])
    try:

        async def known() -> bool:
            return {topic, Topics.dead_letters(topic)} <= set(await admin.list_topics())

        await eventually("the topics are known", known)
    finally:
        await admin.close()
    async with AsyncExitStack() as stack:
        producer = make_producer(settings)
        await producer.start()
        stack.push_async_callback(producer.stop)
        yield Bus(settings, topic, producer, stack)


@pytest.fixture
async def bus(kafka_url: str, topic_prefix: str) -> AsyncIterator[Bus]:
    async with open_bus(kafka_url, topic_prefix) as made:
        yield made


def there(reader: Reader, *values: bytes) -> Callable[[], bool]:
    return lambda: set(values) <= set(reader.values())


async def test_only_what_is_finished_up_to_the_oldest_unfinished_is_committed(bus: Bus) -> None:
    await bus.send(b"a", b"b", b"c")
    reader = await bus.reader()
    await eventually("all arrive", there(reader, b"a", b"b", b"c"))
    reader.finish(b"b", b"c")
    await reader.subscription.commit()
    assert await bus.committed() in (None, 0)
    reader.finish(b"a")
    await reader.subscription.commit()
    assert await bus.committed() == 3


async def test_what_was_not_finished_is_delivered_to_the_next_one(bus: Bus) -> None:
    await bus.send(b"a", b"b")
    first = await bus.reader()
    await eventually("both arrive", there(first, b"a", b"b"))
    first.finish(b"a")
    await first.subscription.commit()
    await first.broker.stop()
    second = await bus.reader()
    await eventually("the other arrives again", there(second, b"b"))
    assert b"a" not in second.values()


async def test_a_full_window_stops_the_flow_until_half_is_free(bus: Bus) -> None:
    values = [b"%d" % number for number in range(20)]
    await bus.send(*values)
    reader = await bus.reader(window=8)
    await eventually("the window fills", lambda: len(reader.got) == 8)
    await bus.send(b"other partition", partition=1)
    await eventually("the other partition flows", there(reader, b"other partition"))
    assert len(reader.got) == 9
    reader.finish(*values[:8])
    await eventually("the flow goes on", lambda: len(reader.got) == 17)
    assert reader.values().count(values[8]) == 1, "a pause loses nothing and repeats nothing"


async def test_a_held_subscription_takes_nothing_and_stays_in_its_group(bus: Bus) -> None:
    reader = await bus.reader()
    await eventually("it has joined", lambda: reader.subscription.joined)
    reader.subscription.hold(True)
    await bus.send(b"a")
    # A second member makes the group share anew: a new assignment must be held, too.
    second = await bus.reader()
    await eventually("the two share", lambda: len(second.subscription.partitions) == 1)
    second.subscription.hold(True)
    await second.broker.stop()
    await eventually("it has both", lambda: len(reader.subscription.partitions) == 2)
    before = len(reader.got)
    await bus.send(b"b")
    await asyncio.sleep(0.5)  # nothing is to happen, which takes time to see
    assert len(reader.got) == before
    reader.subscription.hold(False)
    await eventually("it flows again", lambda: b"b" in reader.values())


async def test_what_one_has_finished_after_a_rebalance_is_not_committed_by_it(bus: Bus) -> None:
    await bus.send(b"0", partition=0)
    await bus.send(b"1", partition=1)
    first = await bus.reader()
    await eventually("both arrive", there(first, b"0", b"1"))
    second = await bus.reader()
    await eventually("the second has one again", lambda: second.got)
    moved = second.got[0][1]
    first.finish(b"0", b"1")
    await first.subscription.commit()
    assert await bus.committed(moved.partition) in (None, 0)
    second.subscription.finish(second.got[0][0])
    await second.subscription.commit()
    assert await bus.committed(moved.partition) == 1


async def test_a_header_that_is_no_text_stops_nobody(bus: Bus) -> None:
    await bus.send(b"a", headers=[("bytes", b"\xff\xfe")])
    await bus.send(b"b")
    reader = await bus.reader()
    await eventually("both arrive", there(reader, b"a", b"b"))
    assert list(reader.got[0][1].headers) == [("bytes", b"\xff\xfe")]


@pytest.mark.parametrize("value", [b"\x00\xff not text", b"", None])
async def test_a_dead_letter_is_the_record_byte_for_byte(bus: Bus, value: bytes | None) -> None:
    await bus.producer.send_and_wait(bus.topic, value, key=b"\xfekey", partition=0, headers=[("own", b"\xff")])
    reader = await bus.reader()
    await eventually("it arrives", lambda: reader.got)
    delivery, record = reader.got[0]
    metrics = Metrics()
    await DeadLetters(bus.producer, "group", metrics).bury(record, "invalid_json", "no JSON")
    reader.subscription.finish(delivery)
    consumer = AIOKafkaConsumer(
        Topics.dead_letters(bus.topic), bootstrap_servers=bus.settings.kafka_url, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        letter = await asyncio.wait_for(consumer.getone(), 60)
    finally:
        await consumer.stop()
    assert (letter.key, letter.value) == (b"\xfekey", value)
    headers = dict(letter.headers)
    assert headers["own"] == b"\xff"
    assert headers["x-dlq-offset"] == b"0"
    assert (
        metrics.registry.get_sample_value("agon_dead_letters_total", {"topic": bus.topic, "reason": "invalid_json"})
        == 1
    )
