"""How far a consumer is, in the same transaction as what it stored: exactly once, whoever dies or wakes up.

A consumer takes its partitions when Kafka assigns them, and moves them on with every batch. A move counts only for the
process that took the partition last and from the offset that it knows; for anybody else the transaction rolls back.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Protocol

from agon.errors import Fenced
from agon.store.pool import Connection, Pool

Partition = tuple[str, int]
"""topic, partition"""


class Move(Protocol):
    """A partition goes from the stored offset `expected` to `next`, the first offset that was not read."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def expected(self) -> int: ...
    @property
    def next(self) -> int: ...


class Offsets:
    """The offsets of one consumer (a service), held by this process under a fresh random name."""

    def __init__(self, pool: Pool, consumer: str) -> None:
        self._pool = pool
        self._consumer = consumer
        self._holder = uuid.uuid4()

    async def take(self, starts: Mapping[Partition, int]) -> dict[Partition, int]:
        """Become the holder of these partitions and learn where each goes on: its stored offset, or `starts` where
        there is none. Waits for a batch that its former holder is just storing."""
        order = sorted(starts)  # everybody locks in one order
        rows = await self._pool.fetch(
            """
            INSERT INTO agon.consumer_offsets AS o (consumer, topic, partition, next_offset, holder)
            SELECT $1, t.topic, t.partition, t.start, $2
            FROM unnest($3::text[], $4::int[], $5::bigint[]) AS t (topic, partition, start)
            ON CONFLICT (consumer, topic, partition) DO UPDATE SET holder = $2, changed_at = now()
            RETURNING o.topic, o.partition, o.next_offset
            """,
            self._consumer,
            self._holder,
            [topic for topic, _ in order],
            [partition for _, partition in order],
            [starts[where] for where in order],
        )
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def move(self, connection: Connection, moves: Iterable[Move]) -> None:
        """Move on, inside the caller's transaction and before its other writes. Raises `Fenced` if any of the
        partitions is held by somebody else or stands elsewhere: then nothing of the batch may be stored."""
        ordered = sorted(moves, key=lambda move: (move.topic, move.partition))
        for move in ordered:
            moved = await connection.fetchval(
                """
                UPDATE agon.consumer_offsets SET next_offset = $5, changed_at = now()
                WHERE consumer = $1 AND topic = $2 AND partition = $3 AND holder = $6 AND next_offset = $4
                RETURNING true
                """,
                self._consumer,
                move.topic,
                move.partition,
                move.expected,
                move.next,
                self._holder,
            )
            if not moved:
                raise Fenced(f"{move.topic}/{move.partition} of {self._consumer} was taken over by another process")
