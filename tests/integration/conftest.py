"""A place with topics, and processes in it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import AIOKafkaProducer

from agon.bus import topic_admin
from support.voting import Place, Processes, processes, producing


@pytest.fixture
async def place(kafka_url: str, redis_url: str, database_url: str, topic_prefix: str, key_prefix: str) -> Place:
    await topic_admin.apply(kafka_url, topic_prefix)
    return Place(kafka_url, redis_url, database_url, topic_prefix, key_prefix)


@pytest.fixture
def services(place: Place) -> Iterator[Processes]:
    with processes(place) as started:
        yield started


@pytest.fixture
async def producer(place: Place) -> AsyncIterator[AIOKafkaProducer]:
    async with producing(place.kafka_url) as started:
        yield started
