"""Topics on a real Kafka: made once, grown, never touched otherwise."""

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from agon.bus import topic_admin
from agon.errors import SetupError
from agon.topics import Topics

pytestmark = pytest.mark.servers


async def described(kafka_url: str, *names: str) -> dict[str, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    try:
        return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(list(names))}
    finally:
        await admin.close()


async def test_applying_twice_makes_everything_once(kafka_url: str, topic_prefix: str) -> None:
    first = await topic_admin.apply(kafka_url, topic_prefix)
    second = await topic_admin.apply(kafka_url, topic_prefix)
    assert set(first.created) == {plan.name for plan in topic_admin.static_plan(Topics(topic_prefix))}
    assert (second.created, second.grown, set(second.unchanged)) == ((), (), set(first.created))


async def test_a_topic_with_too_few_partitions_grows_and_keeps_its_settings(kafka_url: str, topic_prefix: str) -> None:
    topic = Topics(topic_prefix).completions
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "12345"})])
        report = await topic_admin.apply(kafka_url, topic_prefix)
        assert report.grown == ((topic, 2, 8),)
        answers: list[Any] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        settings = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
        assert settings["retention.ms"] == "12345"
    finally:
        await admin.close()
    assert (await described(kafka_url, topic))[topic] == 8


async def test_a_models_topics_take_large_requests(kafka_url: str, topic_prefix: str) -> None:
    report = await topic_admin.apply(kafka_url, topic_prefix, ["Org/Model"])
    topics = Topics(topic_prefix)
    assert topics.requests("Org/Model") in report.created
    found = await described(kafka_url, topics.requests("Org/Model"), Topics.dead_letters(topics.requests("Org/Model")))
    assert sorted(found.values()) == [1, 8]


async def test_a_kafka_that_is_not_there_is_named_in_one_line() -> None:
    with pytest.raises(SetupError, match=r"127\.0\.0\.1:1\b.*AGON_KAFKA_URL") as raised:
        await topic_admin.apply("127.0.0.1:1")
    assert "\n" not in raised.value.message
