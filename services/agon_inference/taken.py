"""A record in our hands, before and while it is a request."""

from dataclasses import dataclass
from datetime import datetime

from agon.bus.clients import Record
from agon.bus.dead_letters import DeadLetters
from agon.bus.in_flight import Delivery
from agon.bus.subscription import Subscription
from agon.messages import GenerationRequest
from agon.stream.gate import Claiming
from agon_inference.decoding import Refusal


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose end this is, also where the record was no request."""

    tenant: str
    request_id: str
    model: str
    source: str
    """`topic/partition/offset` of the record."""
    digest: str
    accepted_at: datetime
    traceparent: str | None = None

    @property
    def key(self) -> str:
        return f"{self.tenant}/{self.request_id}"


@dataclass(slots=True, eq=False)
class Taken:
    """One record. After a rebalance the same one is delivered again: then `delivery` is replaced."""

    identity: Identity
    content: GenerationRequest | Refusal
    record: Record
    letters: DeadLetters
    subscription: Subscription
    delivery: Delivery
    abandoned: bool = False
    """We may own it at the gate without knowing: the answer to our claim was lost."""

    @property
    def request(self) -> GenerationRequest | None:
        return None if isinstance(self.content, Refusal) else self.content

    @property
    def size(self) -> int:
        return len(self.record.value or b"")

    def claiming(self, worker: str) -> Claiming:
        """How `worker` asks the gate for it."""
        i = self.identity
        return Claiming(i.tenant, i.request_id, i.source, i.digest, worker, self.abandoned)

    def finish(self) -> None:
        """The record needs no more work."""
        self.subscription.finish(self.delivery)
