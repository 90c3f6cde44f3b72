"""What is listed: what is registered and served."""

import asyncio

import httpx
import pytest
from openai import APIStatusError, ConflictError, NotFoundError

from agon_ingress.settings import IngressSettings
from integration.agon_ingress.conftest import MODEL, FakeWorker, Ingress, eventually, register

pytestmark = pytest.mark.servers


async def listed(ingress: Ingress) -> list[str]:
    return [model.id async for model in ingress.client.models.list()]


async def test_a_served_model_is_listed_and_found_by_its_name_with_slashes(ingress: Ingress) -> None:
    assert await listed(ingress) == [MODEL]
    model = await ingress.client.models.retrieve(MODEL)
    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "agon")
    assert model.created > 1_600_000_000


async def test_a_model_that_nobody_serves_is_not_listed_and_answers_503(
    ingress: Ingress, settings: IngressSettings
) -> None:
    await register(settings, "idle")
    await eventually(lambda: "idle" in ingress.house.registry.cards)
    assert await listed(ingress) == [MODEL]
    for call in (
        ingress.client.models.retrieve("idle"),
        ingress.client.chat.completions.create(model="idle", messages=[{"role": "user", "content": "x"}]),
        ingress.client.chat.completions.create(model="idle", messages=[{"role": "user", "content": "x"}], stream=True),
    ):
        with pytest.raises(APIStatusError) as caught:
            await call
        assert (caught.value.status_code, caught.value.code) == (503, "model_not_served")
        assert int(caught.value.response.headers["retry-after-ms"]) > 0


async def test_a_model_that_does_not_exist_is_404(ingress: Ingress) -> None:
    for call in (
        ingress.client.models.retrieve("no/such model"),
        ingress.client.chat.completions.create(model="nothing", messages=[{"role": "user", "content": "x"}]),
    ):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"


async def test_a_withdrawn_model_is_gone_and_comes_back(ingress: Ingress, settings: IngressSettings) -> None:
    await register(settings, MODEL, state="withdrawn")
    await eventually(lambda: not ingress.house.registry.served())
    with pytest.raises(NotFoundError):
        await ingress.client.models.retrieve(MODEL)
    await register(settings, MODEL)
    await eventually(ingress.serves)


async def test_a_record_that_is_no_card_stops_nothing(ingress: Ingress, settings: IngressSettings) -> None:
    producer = ingress.house.producer
    for value in (b"{", b"\xff", b"[]", b'{"model": 5}'):
        await producer.produce(settings.topics.models, value, key=b"junk")
    await register(settings, "after")
    await eventually(lambda: "after" in ingress.house.registry.cards)


async def test_a_dead_workers_models_are_out_once_its_key_has_run_out(ingress: Ingress, worker: FakeWorker) -> None:
    assert await listed(ingress) == [MODEL]
    heartbeat = worker.heartbeat
    assert heartbeat is not None
    heartbeat._stopping.set()  # dead, and not stopped: its key stays until it runs out
    await asyncio.to_thread(heartbeat._thread.join)
    await ingress.house.redis.pexpire(ingress.house.settings.keys.worker(heartbeat.owner), 200)
    async with asyncio.timeout(60):
        while await listed(ingress):  # noqa: ASYNC110  it looks as a client does
            await asyncio.sleep(0.1)


async def test_ready_names_every_dependency(ingress: Ingress) -> None:
    async with httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        await eventually(lambda: not any(ingress.house.health.problems.values()))
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ok",
            "dependencies": dict.fromkeys(("redis", "kafka", "postgres", "registry", "models"), "ok"),
        }
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        for path in ("/metrics", "/admin/models"):
            assert (await client.get(path)).status_code == 404, "on the internal port only"


async def test_a_model_is_deleted_once_nobody_serves_it(ingress: Ingress, settings: IngressSettings) -> None:
    with pytest.raises(ConflictError):
        await ingress.client.models.delete(MODEL)
    await register(settings, "org/idle")
    await eventually(lambda: "org/idle" in ingress.house.registry.cards)
    deleted = await ingress.client.models.delete("org/idle")
    assert (deleted.id, deleted.deleted) == ("org/idle", True)
    await eventually(lambda: "org/idle" not in [card.model for card in ingress.house.registry.active()])
    with pytest.raises(NotFoundError):
        await ingress.client.models.delete("org/idle")
