"""The registry of models, the compacted `llm.models.v1`: read, followed, and written without contradicting it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from agon.bus.batches import reader
from agon.bus.clients import Record, servers
from agon.bus.headers import event_headers
from agon.errors import InvalidRequest, SetupError
from agon.messages import ModelCard
from agon.settings import Settings

_log = logging.getLogger(__name__)
_read = reader(ModelCard)
_READ_SECONDS = 30.0
_POLL_MS = 500
_ASSIGNMENT_SECONDS = 0.01


def decide(mine: ModelCard, registered: ModelCard | None) -> bool:
    """Whether to publish my card. Raises `SetupError` where the name means another model already.

    A card that says the same is not published again, nor one that says less: not where its files are. One that was
    withdrawn comes back.
    """
    if registered is None:
        return True
    if registered.digest != mine.digest:
        raise SetupError(
            f"the model `{mine.model}` is registered as {registered.digest[:23]}…, and here it is {mine.digest[:23]}…: "
            "what was said and voted under the name belongs to the other; serve this one under a new name"
        )
    known = registered.model_copy(update={"created_at": mine.created_at, "source": mine.source and registered.source})
    return known != mine


async def follow(settings: Settings) -> AsyncGenerator[Mapping[str, ModelCard]]:
    """The newest card of each model: as the topic stands now, then again whenever more has come.

    Raises `KafkaError`, also where there is no such topic.
    """
    topic = settings.topics.models
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers(settings.kafka_url),
        client_id=settings.name,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    cards: dict[str, ModelCard] = {}
    try:
        await consumer.start()
        if topic not in await consumer.topics():
            raise UnknownTopicOrPartitionError(topic)
        consumer.subscribe([topic])  # without a group it gets all partitions
        while not consumer.assignment():  # noqa: ASYNC110  it comes with the next metadata, and nothing tells of it
            await asyncio.sleep(_ASSIGNMENT_SECONDS)
        ends = await consumer.end_offsets(consumer.assignment())
        news = True
        while True:
            if news and all([await consumer.position(part) >= end for part, end in ends.items()]):
                yield dict(cards)
                news = False
            for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                news = True
                for record in records:
                    if record.value is None:
                        cards.pop((record.key or b"").decode(errors="replace"), None)
                    elif (card := _card(record)) is not None:
                        cards[card.model] = card
    finally:
        await consumer.stop()


async def read(settings: Settings) -> Mapping[str, ModelCard]:
    """The newest card of each model, as the topic stands now. Raises `SetupError`."""
    try:
        async with asyncio.timeout(_READ_SECONDS), aclosing(follow(settings)) as snapshots:
            return await anext(snapshots)
    except (KafkaError, TimeoutError) as error:
        what = f"can't read the topic {settings.topics.models}: {error!r}; has `agon topics apply` been run?"
        raise SetupError(what) from error


async def register(settings: Settings, producer: AIOKafkaProducer, cards: Iterable[ModelCard]) -> list[ModelCard]:
    """Publish what is not registered yet, and return it. Raises `SetupError`, also when two were at it at the same
    moment."""
    mine = {card.model: card for card in cards}
    registered = await read(settings)
    new = [card for card in mine.values() if decide(card, registered.get(card.model))]
    if not new:
        return []
    for card in new:
        await publish(settings, producer, card)
    registered = await read(settings)
    for card in new:
        decide(card, registered.get(card.model))
    return new


async def publish(settings: Settings, producer: AIOKafkaProducer, card: ModelCard) -> None:
    """Write a card as it is; it is on Kafka when this returns."""
    await producer.send_and_wait(
        settings.topics.models,
        value=card.encode(),
        key=card.model.encode(),
        headers=list(event_headers(card, id=f"{card.model}@{card.digest}", source=settings.name)),
    )
    _log.info("%s is registered as %s", card.model, card.state)


def _card(record: Record) -> ModelCard | None:
    try:
        return _read(record)
    except InvalidRequest as error:
        # Whoever wrote it, it is no card of a model of ours, and must stop nobody from starting.
        _log.warning("%s/%d/%d is unreadable and passed over: %s", record.topic, record.partition, record.offset, error)
        return None
