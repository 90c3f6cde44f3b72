"""A worker that can't serve says in one line why, and exits with 2; one that can, says what exists."""

import asyncio

import httpx
import pytest

from agon.local.ports import free_port
from agon.messages import ModelCard
from support.waiting import PATIENCE
from support.workers import Client, Place, StartWorker, eventually

pytestmark = pytest.mark.servers


async def exit_code(worker: object) -> int:
    code: int = await asyncio.to_thread(worker.process.wait, PATIENCE)  # type: ignore[attr-defined]
    return code


async def test_another_model_under_a_registered_name_is_refused(client: Client, start_worker: StartWorker) -> None:
    start_worker("w1", "m=scripted:text=one")
    await client.reading("w1", model="m")
    other = start_worker("w2", "m=scripted:text=two")
    assert await exit_code(other) == 2
    last = other.told().strip().splitlines()[-1]
    assert last.startswith("agon_inference: the model `m` is registered as sha256:")
    assert "new name" in last
    assert "Traceback" not in other.told()


async def test_the_same_model_is_registered_once_by_however_many_workers(
    client: Client, start_worker: StartWorker
) -> None:
    start_worker("w1", "m=scripted:text=one")
    await client.reading("w1", model="m")
    start_worker("w2", "m=scripted:text=one")
    await client.reading("w1", "w2", model="m")
    cards = [ModelCard.decode(record.value) for record in await client.records(client.place.topics.models)]
    assert [card.model for card in cards] == ["m"]


@pytest.mark.parametrize(
    ("models", "settings", "said"),
    [
        (["nonsense"], {}, "no MODEL=SOURCE"),
        (["m=scripted:text=a"], {"AGON_SESSION_TIMEOUT": "0.5"}, "InvalidSessionTimeout"),
        (["m=scripted:text=a"], {"AGON_KAFKA_URL": "127.0.0.1:1", "AGON_STARTUP_TIMEOUT": "1"}, "AGON_KAFKA_URL"),
    ],
)
async def test_a_wrong_setting_is_named_in_one_line(
    place: Place, start_worker: StartWorker, models: list[str], settings: dict[str, str], said: str
) -> None:
    worker = start_worker("w1", *models, **settings)
    assert await exit_code(worker) == 2
    last = worker.told().strip().splitlines()[-1]
    assert last.startswith("agon_inference: ")
    assert said in last
    assert "Traceback" not in worker.told()


async def test_readiness_names_redis_kafka_and_each_model(client: Client, start_worker: StartWorker) -> None:
    port = free_port()
    start_worker("w1", "m=scripted:text=one", AGON_METRICS_PORT=str(port))
    await client.reading("w1", model="m")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:

        async def ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        await eventually("it is ready", ready)
        assert (await http.get("/readyz")).json()["dependencies"].keys() == {"redis", "kafka", "m"}
        (done,) = await client.completed(await client.ask("m"))

        async def counted() -> str | None:
            """It's counted once it is marked as done, which is after Kafka has it."""
            metrics = (await http.get("/metrics")).text
            return metrics if 'agon_requests_total{model="m",status="finished"} 1.0' in metrics else None

        metrics = await eventually("the request is counted", counted)
        assert f'agon_generation_tokens_total{{model="m"}} {float(done.usage.completion_tokens)}' in metrics


async def test_a_worker_that_leaves_is_gone_at_once(client: Client, start_worker: StartWorker) -> None:
    worker = start_worker("w1", "m=scripted:text=one", AGON_WORKER_TTL="600")  # so long it would stay by itself
    await client.reading("w1", model="m")
    assert await worker.terminate() == 0
    assert await client.alive() == []


async def test_a_worker_that_is_killed_is_gone_once_its_life_runs_out(
    client: Client, start_worker: StartWorker
) -> None:
    worker = start_worker("w1", "m=scripted:text=one", AGON_WORKER_TTL="5")
    await client.reading("w1", model="m")
    worker.kill()

    async def nobody() -> bool:
        return not await client.alive()

    await eventually("its heartbeat runs out", nobody)
