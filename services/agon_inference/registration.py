"""A worker's models on the registry topic: what is there is read first, and a model with another digest is refused."""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from agon.bus.clients import servers
from agon.bus.headers import event_headers
from agon.bus.topic_admin import apply_model
from agon.errors import SetupError
from agon.messages import ModelCard
from agon.settings import Settings
from agon_inference.settings import InferenceSettings

_log = logging.getLogger(__name__)
_READ_SECONDS = 30.0
_AGAIN_SECONDS = 1.0


def decide(mine: ModelCard, registered: ModelCard | None) -> bool:
    """Whether to publish my card. Raises `SetupError` where the name means another model already.

    A card that says the same is not published again; one that was withdrawn comes back.
    """
    if registered is None:
        return True
    if registered.digest != mine.digest:
        raise SetupError(
            f"the model `{mine.model}` is registered as {registered.digest[:23]}…, and here it is {mine.digest[:23]}…: "
            "what was said and voted under the name belongs to the other; serve this one under a new name"
        )
    return registered.model_copy(update={"created_at": mine.created_at}) != mine


async def make_topics(settings: InferenceSettings, models: Iterable[str]) -> None:
    """Create each model's topics. Kafka may take its time to be there; then this raises `SetupError`."""
    until = asyncio.get_running_loop().time() + settings.startup_timeout.total_seconds()
    for model in models:
        while True:
            try:
                await apply_model(settings.kafka_url, settings.topic_prefix, model)
                break
            except SetupError as error:
                if asyncio.get_running_loop().time() >= until:
                    raise
                _log.info("waiting for Kafka: %s", error)
            await asyncio.sleep(_AGAIN_SECONDS)


async def register(settings: Settings, producer: AIOKafkaProducer, cards: Iterable[ModelCard]) -> None:
    """Publish what is not registered yet. Raises `SetupError`, also when two workers were at it at the same moment."""
    mine = {card.model: card for card in cards}
    registered = await read_registry(settings, producer)
    new = [card for card in mine.values() if decide(card, registered.get(card.model))]
    if not new:
        return
    for card in new:
        await producer.send_and_wait(
            settings.topics.models,
            value=card.encode(),
            key=card.model.encode(),
            headers=list(event_headers(card, id=f"{card.model}@{card.digest}", source=settings.name)),
        )
        _log.info("%s is registered", card.model)
    registered = await read_registry(settings, producer)
    for card in new:
        decide(card, registered.get(card.model))


async def read_registry(settings: Settings, producer: AIOKafkaProducer) -> Mapping[str, ModelCard]:
    """The newest card of each model, from the beginning of the topic to what is its end now."""
    topic = settings.topics.models
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers(settings.kafka_url), client_id=settings.name, enable_auto_commit=False
    )
    cards: dict[str, ModelCard] = {}
    try:
        async with asyncio.timeout(_READ_SECONDS):
            await consumer.start()
            where = [TopicPartition(topic, part) for part in sorted(await producer.partitions_for(topic))]
            consumer.assign(where)
            await consumer.seek_to_beginning(*where)
            ends = await consumer.end_offsets(where)
            while any([await consumer.position(part) < ends[part] for part in where]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        if (card := _card(record.value)) is not None:
                            cards[card.model] = card
    except (KafkaError, TimeoutError) as error:
        raise SetupError(f"can't read the topic {topic}: {error!r}; has `agon topics apply` been run?") from error
    finally:
        await consumer.stop()
    return cards


def _card(value: bytes | None) -> ModelCard | None:
    try:
        return ModelCard.decode(value or b"")
    except ValidationError:
        # Whoever wrote it, it is no card of a model of ours, and must stop nobody from starting.
        _log.warning("an unreadable record in the registry is passed over")
        return None
