"""What exists and what is served: the compacted `llm.models.v1` and the workers' heartbeats, side by side."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing

from aiokafka.errors import KafkaError
from redis.asyncio import Redis

from agon.bus.registry import follow
from agon.errors import ModelNotServed, Unavailable
from agon.messages import ModelCard
from agon.settings import Settings
from agon.stream.heartbeat import WorkerState, workers
from agon.topics import Keys, Topics
from agon_ingress.asking.partitions import Holder, choose
from agon_ingress.http.errors import unknown_model

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0


class Registry:
    """Two tables and what follows from them.

    `follow` fills the cards from Kafka for as long as it runs; `refresh` reads who is alive from Redis and is called
    every second. A worker that died is out as soon as its heartbeat key is.
    """

    def __init__(self, topics: Topics, keys: Keys) -> None:
        self._topics = topics
        self._keys = keys
        self.cards: dict[str, ModelCard] = {}
        self.workers: tuple[WorkerState, ...] = ()
        self.loaded = asyncio.Event()
        """Set once the registry topic was read to its end: until then nothing is known to be unknown."""
        self._sent: Counter[tuple[str, str]] = Counter()
        self._draw = random.Random()

    def active(self) -> list[ModelCard]:
        """Every registered model that is not withdrawn, by name."""
        return sorted((card for card in self.cards.values() if card.state == "active"), key=lambda card: card.model)

    def serving(self, model: str) -> list[WorkerState]:
        """The live workers of a model."""
        return [worker for worker in self.workers if model in worker.models]

    def served(self) -> list[ModelCard]:
        """What `/v1/models` lists: registered, and served by a live worker."""
        alive = {model for worker in self.workers for model in worker.models}
        return [card for card in self.active() if card.model in alive]

    def check(self, model: str) -> ModelCard:
        """The model's card. Raises `ModelNotFound` if none is registered, `ModelNotServed` if no live worker has it,
        and `Unavailable` while the registry has not been read."""
        card = self.registered(model)
        if not self.serving(model):
            raise ModelNotServed(
                f"The model `{model}` exists, but no worker serves it at the moment. Try again shortly.", param="model"
            )
        return card

    def registered(self, model: str) -> ModelCard:
        """The same, served or not."""
        if not self.loaded.is_set():
            raise Unavailable("The registry of models has not been read yet. Try again shortly.")
        card = self.cards.get(model)
        if card is None or card.state != "active":
            raise unknown_model(model)
        return card

    def topic(self, model: str) -> str:
        """Where requests for a model go that `check` knows."""
        return self._topics.requests(self.cards[model].host)

    def place(self, model: str, partitions: Sequence[int], conversation: str | None) -> int:
        """The partition for a new request, counting what was sent to a worker since its last heartbeat."""
        topic = self.topic(model)
        able = self.serving(model)
        holders = []
        for worker in able:
            load = worker.models[model]
            busy = load.running + load.waiting + self._sent[worker.worker, worker.incarnation]
            holders.append(Holder(tuple(worker.partitions.get(topic, ())), busy / max(1, load.capacity)))
        partition = choose(partitions, holders, conversation, self._draw)
        for worker, holder in zip(able, holders, strict=True):
            if partition in holder.partitions:
                self._sent[worker.worker, worker.incarnation] += 1
        return partition

    async def refresh(self, redis: Redis) -> None:
        """Read the heartbeats. Raises redis' errors."""
        self.workers = tuple(await workers(redis, self._keys))
        self._sent.clear()

    async def follow(self, settings: Settings) -> None:
        """Read the registry's topic, for ever; begins again when Kafka was away."""
        while True:
            try:
                async with aclosing(follow(settings)) as snapshots:
                    async for cards in snapshots:
                        self.cards = dict(cards)
                        self.loaded.set()
            except (KafkaError, OSError) as error:
                log.info("waiting for the topic %s: %s", self._topics.models, error)
            except Exception:
                # Whatever it was: without this table the ingress would go on with yesterday's models.
                log.exception("reading the topic %s broke, beginning again", self._topics.models)
            await asyncio.sleep(RECONNECT_SECONDS)
