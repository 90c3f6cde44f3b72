"""Nothing of one tenant is there for another: over every route that takes an id, every list, and every record.

A new route is found by itself: one that takes an id is tried with `made`, and fails here until `_make` knows how to
make such an id; a new table or endpoint must carry a tenant like all others.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi.routing import APIRoute

from agon.api_keys import ApiKey, keyed_hash, mint
from agon.messages import now
from agon.store import api_keys, requests
from agon_ingress.absent.routes import router as absent
from agon_ingress.app import ROUTERS
from agon_ingress.routes import ENDPOINTS
from integration.agon_ingress.conftest import (
    MODEL,
    FakeWorker,
    Ingress,
    MakeSettings,
    eventually,
    make_topics,
    register,
    serving,
)
from support.completions import completed
from unit.agon_ingress.offline import BODIES

pytestmark = pytest.mark.servers

SECRET = "of-this-server"
OTHER_MODEL = "fake/model-2"
MESSAGE = {"type": "message", "role": "user", "content": "x"}
OURS, THEIRS = "ours", "theirs"
SHARED = {"model"}
"""Ids that belong to nobody: models are everybody's."""
NO_TENANT = {"consumer_offsets", "api_key_changes"}
"""Tables about partitions and about the keys of all tenants."""


def routes_with_ids() -> Iterator[tuple[str, str]]:
    """Method and path of every route that takes an id of somebody's."""
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and router is not absent:
                names = set(route.param_convertors)
                if names and not names & SHARED:
                    yield from ((method, route.path) for method in sorted(route.methods or ()))


@dataclass
class Tenants:
    """Two tenants at one ingress."""

    ingress: Ingress
    worker: FakeWorker
    ours: httpx.AsyncClient
    theirs: httpx.AsyncClient
    connection: Any
    made: dict[str, str]
    """An id of ours for each name that a path has for one."""

    async def ask(self, client: httpx.AsyncClient, method: str, path: str, ids: dict[str, str]) -> int:
        body = {"metadata": {}, "items": [MESSAGE], "prompt": "x", "outcome": "a", "ticket": self.made["ticket"]}
        content = None if method == "GET" else json.dumps(body)
        headers = {"content-type": "application/json"}
        async with client.stream(method, path.format(**ids), content=content, headers=headers) as answer:
            return answer.status_code


@pytest.fixture
async def tenants(make_settings: MakeSettings) -> AsyncIterator[Tenants]:
    settings = make_settings(key_secret=SECRET, session_secret="of this test")
    await make_topics(settings, MODEL, OTHER_MODEL)
    for model in (MODEL, OTHER_MODEL):
        await register(settings, model, kinds=("chat", "completion", "embedding"))
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(FakeWorker(settings, models=(MODEL, OTHER_MODEL)).running())
        connection = await asyncpg.connect(settings.postgres_url)
        stack.push_async_callback(connection.close)
        await connection.execute("INSERT INTO agon.arenas (tenant, arena) VALUES ($1, 'main')", OURS)
        texts = {}
        for tenant in (OURS, THEIRS):
            key_id, texts[tenant] = mint()
            key = ApiKey(key_id, tenant, "t", keyed_hash(SECRET, texts[tenant]), now())
            await api_keys.add(connection, key)
        ingress = await stack.enter_async_context(serving(settings))
        ours, theirs = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=ingress.url, headers={"authorization": f"Bearer {texts[tenant]}"}, timeout=60
                )
            )
            for tenant in (OURS, THEIRS)
        ]
        await eventually(lambda: ingress.serves() and len(ingress.house.registry.served()) == 2)
        made = await _make(ours, connection)
        yield Tenants(ingress, worker, ours, theirs, connection, made)


async def _make(ours: httpx.AsyncClient, connection: Any) -> dict[str, str]:
    """One of everything that has an id, made as a client makes it."""

    async def post(path: str, **more: Any) -> Any:
        answer = await ours.post(path, **more)
        assert answer.is_success, answer.text
        return answer.json()

    chat = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "store": True}
    completion = await post("/v1/chat/completions", json=chat)
    response = await post("/v1/responses", json={"model": MODEL, "input": "x", "store": True})
    await requests.record(connection, [completed(each["id"], OURS) for each in (completion, response)])
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": chat}
    file = await post("/v1/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", json.dumps(line).encode())})
    batch = await post(
        "/v1/batches",
        json={"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    )
    battle = await post("/arena/battles", json={"prompt": "x"})
    conversation = await post("/v1/conversations", json={"items": [MESSAGE]})
    items = (await ours.get(f"/v1/conversations/{conversation['id']}/items")).json()["data"]
    return {
        "completion_id": completion["id"],
        "response_id": response["id"],
        "file_id": file["id"],
        "batch_id": batch["id"],
        "battle_id": battle["battle_id"],
        "conversation_id": conversation["id"],
        "item_id": items[0]["id"],
        "ticket": battle["ticket"],
    }


async def test_an_id_of_another_tenant_is_not_found_on_any_route(tenants: Tenants) -> None:
    wrong = {}
    for method, path in routes_with_ids():
        status = await tenants.ask(tenants.theirs, method, path, tenants.made)
        if status != 404:
            wrong[method, path] = status
    assert wrong == {}
    # And they do exist.
    for method, path in routes_with_ids():
        if method == "GET":
            assert await tenants.ask(tenants.ours, method, path, tenants.made) == 200, path


async def test_what_an_id_within_a_request_names_must_be_one_s_own(tenants: Tenants) -> None:
    item = f"msg_{tenants.made['response_id'].removeprefix('resp_')}_0"
    for path, body in (
        ("/v1/responses", {"model": MODEL, "input": "x", "previous_response_id": tenants.made["response_id"]}),
        ("/v1/responses", {"model": MODEL, "input": "x", "conversation": tenants.made["conversation_id"]}),
        ("/v1/responses", {"model": MODEL, "input": [{"type": "item_reference", "id": item}]}),
        (
            "/v1/batches",
            {
                "input_file_id": tenants.made["file_id"],
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            },
        ),
    ):
        own = await tenants.ours.post(path, json=body)
        foreign = await tenants.theirs.post(path, json=body)
        assert own.status_code != foreign.status_code in (400, 404), (path, own.text, foreign.text)


async def test_no_list_shows_what_belongs_to_another_tenant(tenants: Tenants) -> None:
    shown = {}
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and "GET" in (route.methods or ()) and not route.param_convertors:
                if not route.path.startswith("/v1/") or router is absent or route.path == "/v1/models":
                    continue
                ours, theirs = await tenants.ours.get(route.path), await tenants.theirs.get(route.path)
                assert theirs.json()["data"] == [], route.path
                shown[route.path] = len(ours.json()["data"])
    assert shown
    assert all(shown.values()), shown


async def test_every_record_carries_its_tenant(tenants: Tenants) -> None:
    """In Kafka and Redis for every endpoint that asks a model, in Postgres in every table."""
    for endpoint in ENDPOINTS:
        for body in BODIES[endpoint.path]:
            plain = {**body, "model": MODEL, "tools": None, "tool_choice": None, "response_format": None}
            await tenants.theirs.post(endpoint.path, json=plain | {"stream": False})
    told = [telling.request for telling in tenants.worker.tellings]
    assert {request.tenant for request in told} == {OURS, THEIRS}
    assert {request.kind for request in told if request.tenant == THEIRS} == {"chat", "completion", "embedding"}
    redis, prefix = tenants.ingress.house.redis, tenants.ingress.house.settings.key_prefix
    names = [name.decode().removeprefix(prefix) async for name in redis.scan_iter(f"{prefix}*", count=1000)]
    requests_keys = [name for name in names if name.startswith("gen:")]
    assert {name.partition("{")[2].partition("/")[0] for name in requests_keys} == {OURS, THEIRS}
    rows = await tenants.connection.fetch(
        "SELECT table_name, bool_or(column_name = 'tenant') AS has FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = 'agon' AND table_type = 'BASE TABLE' GROUP BY table_name"
    )
    assert {row["table_name"] for row in rows if not row["has"]} <= NO_TENANT
