"""Completions and model cards become rows, once each."""

import signal
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from agon.messages import (
    CompletionError,
    GenerationCompleted,
    ModelCard,
    Timings,
    now,
)
from agon.store import requests
from support.completions import completed
from support.voting import Place, Processes, eventually, records

pytestmark = pytest.mark.servers

BEGAN = now()


def ended(request_id: str, text: str | None = "Hello", **changed: Any) -> GenerationCompleted:
    """With moments that tests look at."""
    timings = Timings(
        accepted_at=BEGAN,
        admitted_at=BEGAN + timedelta(milliseconds=100),
        first_token_at=BEGAN + timedelta(milliseconds=250),
        finished_at=BEGAN + timedelta(seconds=1),
    )
    return completed(request_id, text=text, **{"timings": timings, **changed})


async def send(producer: AIOKafkaProducer, place: Place, *ends: GenerationCompleted | bytes) -> None:
    for end in ends:
        value = end if isinstance(end, bytes) else end.encode()
        key = b"x" if isinstance(end, bytes) else end.request_id.encode()
        await producer.send_and_wait(place.topics.completions, value, key=key)


async def rows(place: Place, query: str, at_least: int) -> list[Any]:
    connection = await asyncpg.connect(place.database_url)
    try:

        async def enough() -> list[Any] | None:
            found: list[Any] = await connection.fetch(query)
            return found if len(found) >= at_least else None

        return await eventually(f"{at_least} rows of {query}", enough)
    finally:
        await connection.close()


async def test_ended_requests_are_recorded_once_and_the_first_end_wins(
    place: Place, services: Processes, producer: AIOKafkaProducer
) -> None:
    service = services.start("recorder")
    failed = ended(
        "r2",
        None,
        status="failed",
        error=CompletionError(message="the prompt was ...", type="x", param="messages", code="engine_failed"),
        choices=(),
        timings=Timings(accepted_at=BEGAN, finished_at=BEGAN + timedelta(seconds=2)),
    )
    await send(
        producer,
        place,
        ended("r1"),
        ended("r1", "another text", status="cancelled"),
        failed,
        ended("r3", "nul \0 in the text"),
        b"no json",
        ended("r4", None),
        ended("r1", "somebody else's", tenant="other"),
    )
    found = {
        (row["tenant"], row["request_id"]): row for row in await rows(place, "SELECT * FROM analytics.requests", 5)
    }
    assert set(found) == {("default", "r1"), ("default", "r2"), ("default", "r3"), ("default", "r4"), ("other", "r1")}
    first = found["default", "r1"]
    assert (first["status"], first["finish_reasons"], first["error_code"]) == ("finished", ["stop"], None)
    assert (first["prompt_tokens"], first["completion_tokens"], first["total_tokens"], first["cached_tokens"]) == (
        7,
        5,
        12,
        3,
    )
    assert first["queue_seconds"] == pytest.approx(0.1)
    assert first["first_token_seconds"] == pytest.approx(0.25)
    assert first["total_seconds"] == pytest.approx(1.0)
    assert (found["default", "r2"]["status"], found["default", "r2"]["error_code"]) == ("failed", "engine_failed")
    assert found["default", "r2"]["queue_seconds"] is None
    async with asyncpg.create_pool(place.database_url, min_size=0) as pool:
        told = await requests.ended(pool, "default", ["r1", "r2"])
    assert told["r1"].error is None
    assert (told["r2"].error, told["r2"].choices) == (failed.error, ())
    texts = await rows(place, "SELECT tenant, request_id, content FROM agon.completion_texts ORDER BY 1, 2", 4)
    assert [tuple(row) for row in texts] == [
        ("default", "r1", "Hello"),
        ("default", "r2", None),
        ("default", "r3", "nul \ufffd in the text"),
        ("other", "r1", "somebody else's"),
    ]
    assert [r.value for r in await records(place.kafka_url, place.topics.dead_letters(place.topics.completions))] == [
        b"no json"
    ]
    service.send(signal.SIGTERM)
    assert await service.exit() == 0


async def test_the_newest_card_of_a_model_is_kept(
    place: Place, services: Processes, producer: AIOKafkaProducer
) -> None:
    services.start("recorder")
    card = ModelCard(
        model="nano", digest="d1", backend="engine", context_length=512, parameters=6_000_000, created_at=BEGAN
    )
    later = card.model_copy(update={"digest": "d2", "state": "withdrawn", "created_at": BEGAN + timedelta(hours=1)})
    other = card.model_copy(update={"model": "other/model", "base": "nano"})
    for each in (card, later, other):
        await producer.send_and_wait(place.topics.models, each.encode(), key=each.model.encode())
    found = await rows(place, "SELECT * FROM analytics.models ORDER BY model", 2)
    assert [(row["model"], row["digest"], row["state"], row["base"]) for row in found] == [
        ("nano", "d2", "withdrawn", None),
        ("other/model", "d1", "active", "nano"),
    ]
    assert found[0]["created_at"] == BEGAN


@pytest.mark.kill
async def test_a_recorder_that_is_killed_in_its_transaction_loses_and_doubles_nothing(
    place: Place, services: Processes, producer: AIOKafkaProducer
) -> None:
    ends = [ended(f"r{n}") for n in range(50)]
    await send(producer, place, *ends)
    victim = services.start("recorder", die_at="while_recording")
    assert await victim.exit() == -9
    services.start("recorder")
    found = await rows(place, "SELECT request_id FROM agon.requests", 50)
    assert sorted(row["request_id"] for row in found) == sorted(end.request_id for end in ends)
    assert len(await rows(place, "SELECT request_id FROM agon.completion_texts", 50)) == 50
