"""An arena on a real ingress, Kafka, Redis and Postgres; a worker that says what the test tells it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer

from agon.messages.base import Message
from agon_ingress.settings import IngressSettings
from integration.agon_ingress.conftest import (
    FakeWorker,
    Ingress,
    MakeSettings,
    Script,
    Telling,
    eventually,
    make_topics,
    register,
    serving,
)

ONE, TWO = "acme/model-one", "acme/model-two"
HEARD = (ONE, TWO, "acme", "model-one", "model-two", "sha256", "fake")
"""What may be in no answer before the vote: names, owner, digests, the worker."""


def saying(*pieces: str, pause: float = 0.0) -> Script:
    async def script(telling: Telling) -> None:
        await telling.admit()
        for piece in pieces:
            await asyncio.sleep(pause)
            await telling.say(piece)
        await telling.say("", finish="stop")
        await telling.end()

    return script


async def failing(telling: Telling) -> None:
    await telling.admit()
    await telling.say("half ")
    await telling.end("failed", f"{telling.request.model} ran out of memory", "engine_failed")


async def echo(telling: Telling) -> None:
    """Says how many messages it was told, and the last one: what a side's history is."""
    assert telling.request.messages is not None
    told = [message.text() for message in telling.request.messages]
    await saying(f"{telling.request.model[-3:]} heard {len(told)}: {told[-2:]}")(telling)


def by_model(**scripts: Script) -> Script:
    async def script(telling: Telling) -> None:
        await scripts["one" if telling.request.model == ONE else "two"](telling)

    return script


Event = tuple[str | None, str, dict[str, Any]]


@dataclass
class Arena:
    """An ingress whose two models a fake worker serves, and a client without cookies."""

    ingress: Ingress
    worker: FakeWorker
    database_url: str
    http: httpx.AsyncClient

    async def battle(self, http: httpx.AsyncClient | None = None, **body: Any) -> dict[str, Any]:
        response = await (http or self.http).post("/arena/battles", json={"prompt": "Who are you?", **body})
        assert response.status_code == 201, response.text
        assert set(response.json()) == {"battle_id", "ticket", "stream"}
        return response.json()  # type: ignore[no-any-return]

    async def read(self, path: str, last: str | None = None, most: int | None = None) -> list[Event]:
        return (await self.raw(path, last, most))[0]

    async def raw(self, path: str, last: str | None = None, most: int | None = None) -> tuple[list[Event], str]:
        """Events, and every byte of the answer, headers too."""
        events: list[Event] = []
        headers = {} if last is None else {"last-event-id": last}
        async with self.http.stream("GET", path, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            seen = str(response.headers)
            fields: dict[str, str] = {}
            async for line in response.aiter_lines():
                seen += line
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif not line and fields:
                    events.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
                    fields = {}
                    if most is not None and len(events) >= most:
                        break
        return events, seen

    async def vote(self, made: dict[str, Any], outcome: str = "a", **more: Any) -> httpx.Response:
        body = {"outcome": outcome, "ticket": made["ticket"], **more}
        return await self.http.post(f"/arena/battles/{made['battle_id']}/vote", json=body)

    async def sql(self, query: str, *args: Any) -> Any:
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetchrow(query, *args)
        finally:
            await connection.close()

    async def records(self, topic: str, kind: type[Message]) -> list[Any]:
        """All records of a topic so far that are of this kind."""
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=self.ingress.house.settings.kafka_url, auto_offset_reset="earliest"
        )
        await consumer.start()
        found = []
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=500)).values():
                    found += [kind.decode(r.value) for r in batch if _is_a(kind, r.value)]
        finally:
            await consumer.stop()
        return found


def _is_a(kind: type[Message], value: bytes) -> bool:
    tag = kind.model_fields.get("type")
    return tag is None or json.loads(value).get("type") == tag.default


def words(events: list[Event], side: str) -> str:
    return "".join(data["text"] for _, name, data in events if name == "delta" and data["side"] == side)


def names(events: list[Event]) -> list[str]:
    return [name for _, name, _ in events if name != "delta"]


@pytest.fixture
def arena_settings(make_settings: MakeSettings, database_url: str) -> IngressSettings:
    return make_settings(postgres_url=database_url, session_secret="of this test")


@asynccontextmanager
async def arena_on(settings: IngressSettings, worker: FakeWorker) -> AsyncIterator[Arena]:
    async with AsyncExitStack() as stack:
        ingress = await stack.enter_async_context(serving(settings))
        await eventually(lambda: ingress.serves() and len(ingress.house.registry.served()) == len(worker.models))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=ingress.url, timeout=60))
        http._cookies = _NoCookies()
        yield Arena(ingress, worker, settings.postgres_url, http)


class _NoCookies(httpx.Cookies):
    """A jar that keeps nothing: the client relies on its tickets alone."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


@pytest.fixture
async def arena(arena_settings: IngressSettings) -> AsyncIterator[Arena]:
    settings = arena_settings
    await make_topics(settings, ONE, TWO)
    for model in (ONE, TWO):
        await register(settings, model)
    worker = FakeWorker(settings, models=(ONE, TWO), script=by_model(one=saying("I am ", "one."), two=saying("Two!")))
    async with worker.running(), arena_on(settings, worker) as arena:
        yield arena
