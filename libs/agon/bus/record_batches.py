"""Many records at once: whole record batches instead of a call and a future for each record."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from agon.bus.headers import Headers

_partition = DefaultPartitioner()


class RecordBatches:
    """Collects records for one topic; each goes to the partition that a producer would choose for its key.

    Within a partition they arrive in the order in which they were added, a batch at a time.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions: list[int] = []
        self._key: bytes | None = None
        self._where = 0
        self._open: dict[int, BatchBuilder] = {}
        self._sent: list[asyncio.Future[object]] = []

    async def add(self, key: bytes, value: bytes | None, headers: Headers = ()) -> None:
        """Take a record; a batch that is full goes on its way. `None` is a tombstone."""
        if not self._partitions:
            self._partitions = sorted(await self._producer.partitions_for(self._topic))
        if key != self._key:  # most records follow one of the same key
            self._key, self._where = key, _partition(key, self._partitions, self._partitions)
        where = self._where
        batch = self._open.get(where) or self._producer.create_batch()
        while batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
            await self._send(where, batch)
            batch = self._producer.create_batch()
        self._open[where] = batch

    async def flush(self) -> None:
        """Return once Kafka has acknowledged all of them. Raises what the producer does."""
        for where, batch in self._open.items():
            await self._send(where, batch)
        self._open.clear()
        sent, self._sent = self._sent, []
        await asyncio.gather(*sent)

    async def _send(self, partition: int, batch: BatchBuilder) -> None:
        """Hand a batch to the producer, once the one before it is under way."""
        batch.close()
        self._sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))
