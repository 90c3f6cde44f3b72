"""Topics as `topics.yaml` declares them: created where they are missing, grown where they have too few partitions.

Idempotent, and never deletes: several processes may apply at once, as often as they like.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import InvalidPartitionsError, KafkaError, TopicAlreadyExistsError, for_code

from agon.bus.clients import not_served, servers
from agon.errors import SetupError
from agon.settings import MIB
from agon.topics import Topics

_MOST_REPLICAS = 3
_TIMEOUT = 30.0
_SETTLE_SECONDS = 0.02
_SIZE = re.compile(r"^(\d+)(KiB|MiB)$")
_AGE = re.compile(r"^(\d+)([smhd])$")


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it should be."""

    name: str
    partitions: int
    config: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What `apply` did: topics made, topics grown (name, partitions before, partitions now), topics that were right."""

    created: tuple[str, ...] = ()
    grown: tuple[tuple[str, int, int], ...] = ()
    unchanged: tuple[str, ...] = ()


async def apply(kafka_url: str, prefix: str = "", models: Iterable[str] = ()) -> Report:
    """Create the topics that every stack has, and those of these models: requests, batch requests, and the dead letters
    of both. Raises `SetupError` when Kafka can't be reached or refuses."""
    topics = Topics(prefix)
    plans = [plan for model in models for plan in model_plan(topics, model)]
    return await _apply(kafka_url, (*static_plan(topics), *plans))


def static_plan(topics: Topics) -> tuple[TopicPlan, ...]:
    """What is there whatever models exist."""
    declared = _declaration()
    return tuple(
        plan for name, given in declared["topics"].items() for plan in _plans(getattr(topics, name), given, declared)
    )


def model_plan(topics: Topics, model: str) -> tuple[TopicPlan, ...]:
    """What one model needs."""
    declared = _declaration()
    return tuple(
        plan
        for name, given in declared["model_topics"].items()
        for plan in _plans(getattr(topics, name)(model), given, declared)
    )


def declaration_file() -> Path:
    """`infra/kafka/topics.yaml` of a checkout, else the copy that a wheel carries beside this module."""
    here = Path(__file__).resolve()
    checkout = here.parents[3] / "infra" / "kafka" / "topics.yaml"
    return checkout if checkout.is_file() else here.with_name("topics.yaml")


@cache
def _declaration() -> dict[str, Any]:
    declared: dict[str, Any] = yaml.safe_load(declaration_file().read_text(encoding="utf-8"))
    return declared


def _plans(topic: str, given: Mapping[str, Any], declared: Mapping[str, Any]) -> tuple[TopicPlan, ...]:
    wanted = {**declared["defaults"], **given}
    size = _bytes(wanted["max_message"])
    plan = TopicPlan(topic, wanted["partitions"], _config(wanted["retention"], size, wanted["compacted"]))
    if not wanted["dead_letters"]:
        return (plan,)
    letters = declared["dead_letters"]
    beside = TopicPlan(
        Topics.dead_letters(topic), letters["partitions"], _config(letters["retention"], size + MIB, compacted=False)
    )
    return plan, beside


def _config(retention: str, max_bytes: int, compacted: bool) -> tuple[tuple[str, str], ...]:
    return (
        ("cleanup.policy", "compact" if compacted else "delete"),
        ("max.message.bytes", str(max_bytes)),
        ("retention.ms", str(_milliseconds(retention))),
    )


def _bytes(size: str) -> int:
    match = _SIZE.match(size)
    if match is None:
        raise SetupError(f"topics.yaml: {size!r} is no size: write it as 512KiB or 8MiB")
    return int(match[1]) * {"KiB": 1024, "MiB": MIB}[match[2]]


def _milliseconds(age: str) -> int:
    if age == "forever":
        return -1
    match = _AGE.match(age)
    if match is None:
        raise SetupError(f"topics.yaml: {age!r} is no age: write it as 30m, 12h, 7d or `forever`")
    return int(match[1]) * {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[match[2]]


def decide(plans: tuple[TopicPlan, ...], existing: Mapping[str, int]) -> tuple[list[TopicPlan], dict[str, int]]:
    """What to create, and what to grow to how many partitions. `existing` has each topic's partitions."""
    missing = [plan for plan in plans if plan.name not in existing]
    short = {p.name: p.partitions for p in plans if existing.get(p.name, p.partitions) < p.partitions}
    return missing, short


async def _apply(kafka_url: str, plans: tuple[TopicPlan, ...]) -> Report:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers(kafka_url), request_timeout_ms=int(_TIMEOUT * 1000))
    try:
        async with asyncio.timeout(_TIMEOUT * 2):
            await admin.start()
            return await _carry_out(admin, plans)
    except (KafkaError, OSError, TimeoutError) as error:
        raise not_served(kafka_url, error) from error
    finally:
        await admin.close()


async def _carry_out(admin: AIOKafkaAdminClient, plans: tuple[TopicPlan, ...]) -> Report:
    """Create and grow until Kafka shows everything as planned: what was made a moment ago may not be visible yet, to us
    or to those who wait for it, and others may be at it at the same time."""
    replicas = min(_MOST_REPLICAS, len((await admin.describe_cluster())["brokers"]))
    created: list[str] = []
    grown: dict[str, tuple[str, int, int]] = {}
    while True:
        existing = {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics() if not t["error_code"]}
        missing, short = decide(plans, existing)
        if not missing and not short:
            break
        created += await _create(admin, missing, replicas)
        for name in await _grow(admin, short):
            grown[name] = (name, existing[name], short[name])
        await asyncio.sleep(_SETTLE_SECONDS)
    touched = {*created, *grown}
    return Report(tuple(created), tuple(grown.values()), tuple(p.name for p in plans if p.name not in touched))


async def _create(admin: AIOKafkaAdminClient, missing: list[TopicPlan], replicas: int) -> list[str]:
    """The names of those that are new; the others are there already."""
    if not missing:
        return []
    answer = await admin.create_topics(
        [NewTopic(p.name, p.partitions, replicas, topic_configs=dict(p.config)) for p in missing]
    )
    for topic, code, message in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"{topic}: {message}")
    return [topic for topic, code, _ in answer.topic_errors if not code]


async def _grow(admin: AIOKafkaAdminClient, short: Mapping[str, int]) -> list[str]:
    """The names of those that have more partitions now; the others had grown already."""
    grown = []
    for name, partitions in short.items():
        try:
            await admin.create_partitions({name: NewPartitions(total_count=partitions)})
        except InvalidPartitionsError:
            continue
        grown.append(name)
    return grown
