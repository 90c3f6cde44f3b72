"""The servers that all integration tests stand on."""

import asyncio

import asyncpg
import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from agon.bus import topic_admin
from agon.topics import Topics

pytestmark = pytest.mark.servers


async def test_kafka_takes_topics_and_gives_back_what_was_produced(kafka_url: str, topic_prefix: str) -> None:
    await topic_admin.apply(kafka_url, topic_prefix)
    topic = Topics(topic_prefix).votes
    async with AIOKafkaProducer(bootstrap_servers=kafka_url, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, b"hello")
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka_url, auto_offset_reset="earliest") as consumer:
        record = await asyncio.wait_for(consumer.getone(), 60)
    assert record.value == b"hello"


async def test_redis_asks_for_its_password(redis_url: str, key_prefix: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        await client.set(f"{key_prefix}a", "1")
        assert await client.get(f"{key_prefix}a") == b"1"
    host = redis_url.rsplit("@", 1)[1]
    async with redis.asyncio.from_url(f"redis://{host}") as stranger:
        with pytest.raises(redis.exceptions.AuthenticationError):
            await stranger.get("a")


async def test_a_database_is_migrated_and_its_test_s_own(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM public.agon_migrations") > 0
        assert await connection.fetchval("SELECT count(*) FROM agon.consumer_offsets") == 0
    finally:
        await connection.close()
