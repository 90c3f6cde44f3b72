"""The registry of models on a real Kafka: read as it stands, followed as it grows."""

from contextlib import aclosing

import pytest

from agon.bus import registry, topic_admin
from agon.bus.clients import started_producer
from agon.errors import SetupError
from agon.messages import ModelCard, now
from agon.settings import Settings

pytestmark = pytest.mark.servers

CARD = ModelCard(model="m", digest="sha256:one", backend="scripted", context_length=10, created_at=now())


@pytest.fixture
async def settings(kafka_url: str, topic_prefix: str) -> Settings:
    await topic_admin.apply(kafka_url, topic_prefix)
    return Settings(kafka_url=kafka_url, topic_prefix=topic_prefix, name="test")


async def test_who_follows_sees_what_is_there_and_then_what_comes(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = CARD.model_copy(update={"model": "a", "base": "m", "source": "/somewhere"})
    async with started_producer(settings) as producer:
        assert await registry.read(settings) == {}
        assert await registry.register(settings, producer, [CARD]) == [CARD]
        assert await registry.register(settings, producer, [CARD]) == []
        await producer.send_and_wait(settings.topics.models, b"no card", key=b"x")
        async with aclosing(registry.follow(settings)) as snapshots:
            assert await anext(snapshots) == {"m": CARD}
            assert (
                f"{settings.topics.models}/0/1 is unreadable and passed over: the record: Invalid JSON" in caplog.text
            )
            await registry.publish(settings, producer, adapter)
            assert await anext(snapshots) == {"m": CARD, "a": adapter}
            gone = adapter.model_copy(update={"state": "withdrawn"})
            await registry.publish(settings, producer, gone)
            assert await anext(snapshots) == {"m": CARD, "a": gone}
        with pytest.raises(SetupError, match="under a new name"):
            await registry.register(settings, producer, [CARD.model_copy(update={"digest": "sha256:two"})])


async def test_a_registry_that_is_not_there_is_told_with_what_to_do(kafka_url: str, topic_prefix: str) -> None:
    settings = Settings(kafka_url=kafka_url, topic_prefix=topic_prefix, name="test")
    with pytest.raises(SetupError, match="agon topics apply"):
        await registry.read(settings)
