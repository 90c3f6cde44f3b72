"""Which deliveries are unfinished, and up to where their partition may therefore be committed. No I/O.

Generations end in another order than they began, while Kafka knows one offset per partition. So each partition keeps
the offsets that were delivered, in order, and its *mark*: the oldest unfinished one, or, when none is left, the one
after the last delivered. Offsets have holes (compaction, transaction markers): the mark never counts up by one, it only
steps from delivered offset to delivered offset.

What was finished above the mark is delivered again after a crash or a rebalance; whoever consumes must recognise it.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record in our hands. `epoch` tells it from a delivery of the same record before a rebalance."""

    topic: str
    partition: int
    offset: int
    epoch: int

    @property
    def source(self) -> str:
        """`topic/partition/offset`: the record's identity, the same at each delivery."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class _Window:
    """One partition since it was assigned to us."""

    __slots__ = ("committed", "epoch", "finished", "full", "newest", "open")

    def __init__(self, epoch: int, first: int) -> None:
        self.epoch = epoch
        self.open: deque[int] = deque()  # from the mark to the newest, finished or not
        self.finished: set[int] = set()  # those of `open` that are
        self.newest = first - 1
        self.committed = first
        self.full = False

    def mark(self) -> int:
        return self.open[0] if self.open else self.newest + 1


class InFlight:
    """The deliveries of one consumer.

    `window` is how many deliveries a partition may have between its mark and its newest: it bounds what is delivered
    again after a crash. A partition is full from there on until half of it is free again.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._windows: dict[TopicPartition, _Window] = {}
        self._epoch = 0
        self.unfinished = 0

    def deliver(self, topic: str, partition: int, offset: int) -> Delivery:
        """Note a record that has just been received.

        One that is not above the partition's newest means that the consumer was set back: what was noted about the
        partition is void, since everything behind it is delivered again.
        """
        where = TopicPartition(topic, partition)
        window = self._windows.get(where)
        if window is None or offset <= window.newest:
            self.revoke((where,))
            self._epoch += 1
            window = self._windows[where] = _Window(self._epoch, offset)
        window.open.append(offset)
        window.newest = offset
        window.full = window.full or len(window.open) >= self._window
        self.unfinished += 1
        return Delivery(topic, partition, offset, window.epoch)

    def finish(self, delivery: Delivery) -> bool:
        """The record needs no more work. False for a delivery from before a rebalance, or one finished already."""
        window = self._windows.get(TopicPartition(delivery.topic, delivery.partition))
        if window is None or window.epoch != delivery.epoch:
            return False
        if delivery.offset < window.mark() or delivery.offset in window.finished:
            return False
        window.finished.add(delivery.offset)
        self.unfinished -= 1
        while window.open and window.open[0] in window.finished:
            window.finished.discard(window.open.popleft())
        window.full = window.full and len(window.open) > self._window // 2
        return True

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions are somebody else's, or ours anew: forget them."""
        for where in partitions:
            window = self._windows.pop(where, None)
            if window is not None:
                self.unfinished -= len(window.open) - len(window.finished)

    def marks(self) -> dict[TopicPartition, int]:
        """Each partition's mark, where it has moved since it was last committed."""
        return {where: window.mark() for where, window in self._windows.items() if window.mark() > window.committed}

    def committed(self, marks: Mapping[TopicPartition, int]) -> None:
        """Kafka has these marks."""
        for where, mark in marks.items():
            if window := self._windows.get(where):
                window.committed = max(window.committed, mark)

    def full(self) -> set[TopicPartition]:
        """Partitions that should be paused."""
        return {where for where, window in self._windows.items() if window.full}
