"""The only place where a Kafka topic or a Redis key is spelled.

Both classes take a prefix, so that tests and stacks can share one server: `Topics("t1.")`, `Keys("t1:")`.
"""

import hashlib
import re
from dataclasses import dataclass

_ILLEGAL = re.compile(r"[^a-z0-9]+")
MAX_SLUG = 120


def slug(model: str) -> str:
    """A model's name as a topic may carry it: lower case, `-` for all else, and a hash where that loses something.

    >>> slug("nano-6m")
    'nano-6m'
    >>> slug("Qwen/Qwen3-0.6B")
    'qwen-qwen3-0-6b-fb68f5'
    """
    plain = _ILLEGAL.sub("-", model.lower()).strip("-")[:MAX_SLUG]
    if plain == model:
        return plain
    return f"{plain}-{hashlib.sha256(model.encode()).hexdigest()[:6]}".lstrip("-")


@dataclass(frozen=True, slots=True)
class Topics:
    """Kafka topic names."""

    prefix: str = ""

    def requests(self, model: str) -> str:
        return f"{self.prefix}llm.requests.v1.{slug(model)}"

    def batch_requests(self, model: str) -> str:
        return f"{self.prefix}llm.requests.batch.v1.{slug(model)}"

    @property
    def completions(self) -> str:
        return f"{self.prefix}llm.completions.v1"

    @property
    def models(self) -> str:
        return f"{self.prefix}llm.models.v1"

    @property
    def battles(self) -> str:
        return f"{self.prefix}arena.battles.v1"

    @property
    def votes(self) -> str:
        return f"{self.prefix}arena.votes.v1"

    @property
    def accepted_votes(self) -> str:
        return f"{self.prefix}arena.votes.accepted.v1"

    @property
    def ratings(self) -> str:
        return f"{self.prefix}arena.ratings.v1"

    @staticmethod
    def dead_letters(topic: str) -> str:
        return f"{topic}.dlq"

    def group(self, service: str) -> str:
        """A consumer group's name; one per service, and for workers one per model (`inference.<slug>`)."""
        return f"{self.prefix}agon.{service}"


@dataclass(frozen=True, slots=True)
class Keys:
    """Redis keys and channels. `{...}` keeps what one script touches in one slot of a Redis cluster."""

    prefix: str = ""

    def request(self, tenant: str, request_id: str) -> str:
        """The stem of all keys of one request."""
        return f"{self.prefix}gen:{{{tenant}/{request_id}}}"

    def frames(self, tenant: str, request_id: str) -> str:
        """List: every frame of the request so far. The gate is its only writer."""
        return f"{self.request(tenant, request_id)}:frames"

    def owner(self, tenant: str, request_id: str) -> str:
        """Hash: who writes the list, at which attempt, from which Kafka record."""
        return f"{self.request(tenant, request_id)}:owner"

    def done(self, tenant: str, request_id: str) -> str:
        """String: the completion is on Kafka."""
        return f"{self.request(tenant, request_id)}:done"

    def cancel(self, tenant: str, request_id: str) -> str:
        """String: the client is gone."""
        return f"{self.request(tenant, request_id)}:cancel"

    def limits(self, tenant: str, key_id: str) -> tuple[str, str, str, str]:
        """What an API key uses: hash of the last minute, hash and sorted set of what runs, string of all it spent."""
        stem = f"{self.prefix}lim:{{{tenant}/{key_id}}}"
        return f"{stem}:minute", f"{stem}:held", f"{stem}:leases", f"{stem}:spent"

    def promise(self, tenant: str, key: str) -> str:
        """String: the request that a client's idempotency key stands for; `key` is its hash."""
        return f"{self.prefix}idem:{{{tenant}/{key}}}"

    def kept(self, tenant: str, request_id: str) -> str:
        """List: the frames of an ended request that may be told again."""
        return f"{self.request(tenant, request_id)}:kept"

    @property
    def all_kept(self) -> str:
        """Sorted set: the names of those lists, by the time at which they were kept."""
        return f"{self.prefix}kept"

    def worker(self, worker: str) -> str:
        """String, 5 s to live: a worker incarnation is alive, with its load and partitions as JSON."""
        return f"{self.prefix}worker:{worker}"

    @property
    def workers(self) -> str:
        """Sorted set: worker incarnations by the time of their last heartbeat."""
        return f"{self.prefix}workers"

    def ingress(self, ingress: str) -> str:
        """String, a few seconds to live: an ingress process is alive."""
        return f"{self.prefix}ingress:{ingress}"

    def tokens(self, ingress: str) -> str:
        """Channel: frames for the clients of one ingress process."""
        return f"{self.prefix}tok:{ingress}"

    def control(self, model: str) -> str:
        """Channel: cancellations for the workers of one model, the fast path."""
        return f"{self.prefix}ctl:{slug(model)}"

    def vote(self, vote_id: str) -> str:
        """String: a vote id that was claimed before it was produced."""
        return f"{self.prefix}vote:{vote_id}"

    @property
    def board(self) -> str:
        """Channel: an arena's board has changed."""
        return f"{self.prefix}board"
