"""What a batch and a file may not do: take more than a limit, see another tenant, or go beyond the key that asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from openai import AsyncOpenAI, NotFoundError
from openai.types import Batch

from agon.api_keys import ApiKey, Limits, keyed_hash, mint
from agon.bus import topic_admin
from agon.messages import now
from agon.store import api_keys, files
from agon_ingress import sweeping
from integration.agon_ingress.conftest import Ingress, MakeSettings, eventually, serving
from support.forked import Forked
from support.workers import UNDISTURBED, Place, WorkerProcess, new_place

pytestmark = pytest.mark.servers

SECRET = "of-this-server"
URL: Any = "/v1/chat/completions"
# Four tokens a line, and two of the prompt.
MODELS = ("script=scripted:text=a b c d", "other=scripted:text=a b c d", "slow=scripted:first_delay=100")


@dataclass
class House:
    """An ingress within this process, a worker and a recorder beside it, and the table of keys."""

    ingress: Ingress
    connection: Any
    clients: list[AsyncOpenAI] = field(default_factory=list)

    async def client(self, tenant: str, limits: Limits | None = None, **fields: Any) -> AsyncOpenAI:
        """Somebody with a key, once the ingress knows it."""
        key_id, text = mint()
        key = ApiKey(key_id, tenant, "t", keyed_hash(SECRET, text), now(), limits=limits or Limits(), **fields)
        await api_keys.add(self.connection, key)
        client = AsyncOpenAI(base_url=f"{self.ingress.url}/v1", api_key=text, max_retries=0)
        self.clients.append(client)
        async with asyncio.timeout(60), httpx.AsyncClient(base_url=self.ingress.url, timeout=60) as asking:
            headers = {"authorization": f"Bearer {text}"}
            # Before it knows of any key it is open to all, and to this one as to nobody in particular.
            while [(await asking.get("/v1/files", headers=h)).status_code for h in ({}, headers)] != [401, 200]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return client


@pytest.fixture
def opened(
    make_settings: MakeSettings, kafka_url: str, redis_url: str, database_url: str, tmp_path: Path
) -> Callable[..., Any]:
    """`async with opened(max_file_bytes=10) as house`."""

    @asynccontextmanager
    async def made(**changes: Any) -> AsyncIterator[House]:
        place = new_place(kafka_url, redis_url, tmp_path)
        await topic_admin.apply(kafka_url, place.topics.prefix)
        worker = WorkerProcess(place, "worker-b", MODELS, **UNDISTURBED)
        recorder = started_recorder(place, database_url)
        connection = await asyncpg.connect(database_url)
        settings = make_settings(
            topic_prefix=place.topics.prefix,
            key_prefix=place.keys.prefix,
            key_secret=SECRET,
            key_patience=timedelta(minutes=1),
            **changes,
        )
        try:
            async with serving(settings) as ingress:
                served = ingress.house.registry.served
                await eventually(lambda: len(served()) == len(MODELS), 150)
                house = House(ingress, connection)
                try:
                    yield house
                finally:
                    for client in house.clients:
                        await client.close()
        finally:
            await connection.close()
            recorder.kill()
            recorder.wait(60)
            worker.kill()

    return made


def started_recorder(place: Place, database_url: str) -> Forked:
    environment = place.environment(AGON_POSTGRES_URL=database_url, AGON_NAME="recorder-b")
    return Forked("agon_recorder", environment, place.folder / "recorder.log")


def lines(*models: str) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "custom_id": str(number),
                "method": "POST",
                "url": URL,
                "body": {"model": model, "messages": [{"role": "user", "content": "Hi there"}], "max_tokens": 4},
            }
        ).encode()
        for number, model in enumerate(models)
    )


async def ended(client: AsyncOpenAI, *models: str, batch: Batch | None = None) -> Batch:
    """Ask for a batch of these, and wait for its end."""
    if batch is None:
        file = await client.files.create(file=lines(*models), purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
    async with asyncio.timeout(300):
        while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
            await asyncio.sleep(0.1)
            batch = await client.batches.retrieve(batch.id)
    return batch


async def told(client: AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    return [json.loads(line) for line in (await client.files.content(file_id)).text.splitlines()]


async def test_another_tenants_files_and_batches_are_not_there(opened: Any) -> None:
    async with opened() as house:
        mine, theirs = await house.client("one"), await house.client("two")
        batch = await ended(mine, "script")
        assert batch.status == "completed"
        assert batch.output_file_id is not None
        for file_id in (batch.input_file_id, batch.output_file_id):
            for ask in (theirs.files.retrieve, theirs.files.content, theirs.files.delete):
                with pytest.raises(NotFoundError):
                    await ask(file_id)
        for look in (theirs.batches.retrieve, theirs.batches.cancel):
            with pytest.raises(NotFoundError):
                await look(batch.id)
        with pytest.raises(NotFoundError):
            await theirs.batches.create(input_file_id=batch.input_file_id, endpoint=URL, completion_window="24h")
        assert (await theirs.files.list()).data == []
        assert (await theirs.batches.list()).data == []
        assert {file.id for file in (await mine.files.list()).data} == {batch.input_file_id, batch.output_file_id}
        rows = await house.connection.fetch("SELECT tenant, request_id FROM agon.requests")
        assert [row["tenant"] for row in rows] == ["one"]
        assert not await house.connection.fetch("SELECT FROM agon.completion_texts")  # nobody asked to keep it


async def test_a_batch_may_what_its_key_may(opened: Any) -> None:
    async with opened() as house:
        client = await house.client("one", models=frozenset({"script"}))
        batch = await ended(client, "script", "other")
        assert [line["custom_id"] for line in await told(client, batch.output_file_id)] == ["0"]
        (error,) = await told(client, batch.error_file_id)
        assert (error["custom_id"], error["response"]["status_code"]) == ("1", 403)


async def test_a_batch_ends_where_the_budget_of_its_key_does(opened: Any) -> None:
    async with opened(reserved_tokens=8) as house:
        client = await house.client("one", Limits(budget_tokens=200))
        batch = await ended(client, *["script"] * 60)
        well, badly = await told(client, batch.output_file_id), await told(client, batch.error_file_id)
        assert len(well) + len(badly) == 60
        assert badly
        assert {line["response"]["body"]["error"]["code"] for line in badly} == {"insufficient_quota"}
        spent = sum(line["response"]["body"]["usage"]["total_tokens"] for line in well)
        assert spent <= 200

        async def noted() -> int:
            return int(await house.connection.fetchval("SELECT spent_tokens FROM agon.api_keys"))

        async with asyncio.timeout(60):
            while await noted() != spent:  # noqa: ASYNC110  it is written every second
                await asyncio.sleep(0.1)


async def test_what_is_not_done_when_the_window_ends_has_expired(opened: Any) -> None:
    async with opened(batch_cancel_timeout=3, max_batch_in_flight=2) as house:
        ingress = house.ingress
        for seconds in (6, 60):
            ingress.house.settings = ingress.house.settings.model_copy(
                update={"batch_window": timedelta(seconds=seconds)}
            )
            await house.connection.execute("TRUNCATE agon.requests CASCADE")
            batch = await ended(ingress.client, "script", "slow", "slow", "script")
            assert batch.status == "expired"
            if well := await told(ingress.client, batch.output_file_id):
                break  # else this machine has stood still for so long
        assert [line["custom_id"] for line in well] == ["0"]
        errors = await told(house.ingress.client, batch.error_file_id)
        assert [(error["custom_id"], error["error"]["code"]) for error in errors] == [
            (number, "batch_expired") for number in "123"
        ]
        # The last line never went out: two were under way, which is the most.
        assert await house.connection.fetchval("SELECT count(*) FROM agon.requests") == 3


async def test_limits_of_files_at_the_bound_and_beyond(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(max_file_bytes=1000, max_tenant_file_bytes=2500, max_batch_requests=2, max_batches=1) as house:
        async with httpx.AsyncClient(base_url=f"{house.ingress.url}/v1", timeout=60) as client:

            async def upload(size: int, kind: str = "user_data") -> httpx.Response:
                return await client.post("/files", files={"file": b"x" * size}, data={"purpose": kind})

            assert (await upload(1000)).status_code == 200
            beyond = await upload(1001)
            assert (beyond.status_code, beyond.json()["error"]["param"]) == (413, "file")
            assert (await upload(200_000)).status_code == 413
            assert (await upload(1000)).status_code == 200
            full = await upload(501)
            assert (full.status_code, full.json()["error"]["code"]) == (413, "storage_limit_exceeded")
            assert (await upload(500)).status_code == 200
            assert (await client.post("/files", json={"purpose": "batch"})).status_code == 415
            no_file = await client.post("/files", files={"other": b"x"}, data={"purpose": "batch"})
            assert (no_file.status_code, no_file.json()["error"]["param"]) == (400, "file")
            for file in (await client.get("/files")).json()["data"]:
                await client.delete(f"/files/{file['id']}")

            # Three at once, each of which had room when it began to be written.
            began, write = asyncio.Barrier(3), files.write

            async def together(*given: Any, **named: Any) -> Any:
                await began.wait()
                return await write(*given, **named)

            with monkeypatch.context() as patched:
                patched.setattr(files, "write", together)
                codes = [answer.status_code for answer in await asyncio.gather(*(upload(1000) for _ in range(3)))]
            assert sorted(codes) == [200, 200, 413]
            kept = (await client.get("/files")).json()["data"]
            assert len(kept) == 2
            for file in kept:
                await client.delete(f"/files/{file['id']}")
        official = house.ingress.client
        assert (await ended(official, "script", "script")).status == "completed"
        failed = await ended(official, "script", "script", "script")
        assert failed.errors is not None
        assert [error.code for error in failed.errors.data or ()] == ["too_many_tasks"]


async def test_a_file_whose_time_has_passed_is_gone_and_its_bytes_soon_after(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "EVERY", 0.1)
    async with opened() as house:
        client = house.ingress.client
        file = await client.files.create(file=b"x", purpose="user_data")
        await house.connection.execute("UPDATE agon.files SET expires_at = now()")
        for ask in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(NotFoundError):
                await ask(file.id)
        assert (await client.files.list()).data == []
        async with asyncio.timeout(60):
            while await house.connection.fetch("SELECT FROM agon.file_parts"):  # noqa: ASYNC110  it looks at a table
                await asyncio.sleep(0.05)
