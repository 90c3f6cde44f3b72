"""What the recorder reads, and where it goes: ended requests and model cards, with the offsets, in one transaction."""

from collections.abc import Sequence

from agon.bus.batches import Move, Read, reader
from agon.bus.clients import Record
from agon.messages import GenerationCompleted, ModelCard
from agon.store import batch_lines, models, requests
from agon.store.offsets import Offsets
from agon.store.pool import Pool
from agon.telemetry import Metrics
from agon.topics import Topics

Item = GenerationCompleted | ModelCard


def make_read(topics: Topics) -> Read[Item]:
    """Reads a record as what its topic carries."""
    readers: dict[str, Read[Item]] = {topics.completions: reader(GenerationCompleted), topics.models: reader(ModelCard)}

    def read(record: Record) -> Item:
        return readers[record.topic](record)

    return read


class Recording:
    """Stores batches; the first end of a request wins."""

    def __init__(self, pool: Pool, offsets: Offsets, metrics: Metrics) -> None:
        self._pool = pool
        self._offsets = offsets
        self._metrics = metrics

    async def store(self, items: Sequence[Item], moves: Sequence[Move]) -> None:
        ends = [item for item in items if isinstance(item, GenerationCompleted)]
        cards = [item for item in items if isinstance(item, ModelCard)]
        async with self._pool.acquire() as connection, connection.transaction():
            await self._offsets.move(connection, moves)
            batched = await batch_lines.record(connection, ends)
            new = await requests.record(connection, ends, without_text=batched)
            if cards:
                await models.record(connection, cards)
        self._metrics.counter("duplicates_suppressed").labels("recorder").inc(len(ends) - new)
