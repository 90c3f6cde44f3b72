"""How much is read from Kafka: one model's two topics, and when each of them is held. The rule is pure."""

from dataclasses import dataclass

from agon.bus.subscription import Subscription


@dataclass(frozen=True, slots=True)
class Hands:
    """How full our hands are. `count` and `batch` are of one model, the rest of the whole process."""

    count: int
    capacity: int
    full_bytes: bool = False
    away: bool = False
    """Redis or Kafka does not answer: nothing that is taken now could go on."""
    batch: int = 0
    """How many of `count` are of batches."""
    batch_room: int | None = None
    """How many of batches there may be; None for no such bound."""


def hold(hands: Hands, interactive: bool, batch: bool) -> tuple[bool, bool]:
    """Whether to hold the interactive and the batch topic, given whether each is held.

    Interactive requests come as long as there is room, batch requests only into the half that is free, and no more than
    their own bound. A held topic goes on once an eighth is free again (a quarter of that bound), since each pause
    throws away what was fetched ahead.
    """
    if hands.away or hands.full_bytes:
        return True, True
    slack = max(1, hands.capacity // 8)
    half = max(1, hands.capacity // 2)
    interactive = hands.count >= max(1, hands.capacity - (slack if interactive else 0))
    full = interactive or hands.count >= max(1, half - (slack if batch else 0))
    if hands.batch_room is not None:
        full = full or hands.batch >= max(1, hands.batch_room - (hands.batch_room // 4 if batch else 0))
    return interactive, full


class Flow:
    """One model's topics, read as far as the rule says."""

    def __init__(self, interactive: Subscription, batch: Subscription) -> None:
        self.interactive = interactive
        self.batch = batch

    @property
    def subscriptions(self) -> tuple[Subscription, Subscription]:
        return self.interactive, self.batch

    def adjust(self, hands: Hands) -> None:
        """Hold or let go, after our hands have become fuller or emptier."""
        interactive, batch = hold(hands, self.interactive.held, self.batch.held)
        self.interactive.hold(interactive)
        self.batch.hold(batch)

    def hold(self) -> None:
        """Take nothing more, for good."""
        for subscription in self.subscriptions:
            subscription.hold(True)

    @property
    def joined(self) -> bool:
        """Whether the group has given us our share of the interactive topic, however small."""
        return self.interactive.joined

    def partitions(self) -> dict[str, list[int]]:
        """What we hold at the moment, by topic."""
        return {subscription.topic: sorted(subscription.partitions) for subscription in self.subscriptions}
