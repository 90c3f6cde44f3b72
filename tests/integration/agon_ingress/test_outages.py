"""A part that is away: a quick 503 that names it, and everything again when it is back."""

import asyncio
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from openai import APIError, APIStatusError

from agon.local.kafka import KafkaServer
from agon.local.postgres import PostgresServer
from agon.local.redis import RedisServer
from agon.store.migrations import migrate
from integration.agon_ingress.conftest import (
    MODEL,
    FakeWorker,
    MakeSettings,
    Telling,
    eventually,
    make_topics,
    register,
    serving,
)
from support.waiting import PATIENCE

pytestmark = pytest.mark.servers

MESSAGES = [{"role": "user", "content": "x"}]
NOWHERE = "127.0.0.1:1"
# What is away is not waited for as long as what is slow.
QUICK = {"probe_timeout": 3, "produce_timeout": 3}


async def test_without_kafka_a_request_is_refused_at_once(make_settings: MakeSettings) -> None:
    async with (
        serving(make_settings(**QUICK, kafka_url=NOWHERE)) as ingress,
        httpx.AsyncClient(base_url=ingress.url, timeout=60) as client,
    ):
        with pytest.raises(APIStatusError) as caught:
            await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
        assert caught.value.status_code == 503
        assert "kafka" in str(caught.value)
        assert int(caught.value.response.headers["retry-after-ms"]) > 0
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert "kafka" not in [name for name, state in ready.json()["dependencies"].items() if state == "ok"]
        assert ready.json()["dependencies"]["redis"] == "ok"
        assert (await client.get("/healthz")).status_code == 200


async def test_kafka_goes_away_and_comes_back(make_settings: MakeSettings, tmp_path: Path) -> None:
    kafka = KafkaServer(tmp_path / "kafka", tmp_path / "kafka.log")
    await kafka.start()
    settings = make_settings(**QUICK, kafka_url=kafka.url)
    await make_topics(settings)
    await register(settings)

    async def ask() -> str | None:
        answer = await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
        return answer.choices[0].message.content

    async def answered() -> str | None:
        """A broker that is there need not be quick."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(APIStatusError):
                    return await ask()

    async with FakeWorker(settings).running(), serving(settings) as ingress:
        await eventually(ingress.serves)
        assert await answered() == "Hello wörld"
        await kafka.stop()
        with pytest.raises(APIStatusError) as caught:
            await ask()
        assert caught.value.status_code == 503
        assert ingress.house.admission.open == 0
        await eventually(lambda: ingress.house.health.problems["kafka"] is not None)
        await kafka.start()
        await eventually(lambda: ingress.house.health.problems["kafka"] is None)
        assert await answered() == "Hello wörld"
    await kafka.stop()


async def test_where_postgres_never_was_nobody_knows_who_may_ask(make_settings: MakeSettings) -> None:
    async with serving(make_settings(**QUICK, postgres_url=f"postgresql://x@{NOWHERE}/x")) as ingress:
        with pytest.raises(APIStatusError, match="Postgres") as caught:
            await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after-ms"]) > 0


async def test_when_postgres_goes_away_a_chat_works_and_ready_says_what_is_missing(
    make_settings: MakeSettings, worker: FakeWorker, tmp_path: Path
) -> None:
    postgres = PostgresServer(tmp_path / "postgres", tmp_path / "postgres.log", "secret", durable=False)
    await postgres.start()
    await migrate(postgres.url)
    async with (
        serving(make_settings(**QUICK, postgres_url=postgres.url)) as ingress,
        httpx.AsyncClient(base_url=ingress.url, timeout=60) as client,
    ):
        await eventually(ingress.serves)
        await postgres.stop()
        await eventually(lambda: ingress.house.health.problems["postgres"] is not None)
        answer = await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == "Hello wörld"
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert [n for n, state in ready.json()["dependencies"].items() if state != "ok"] == ["postgres"]


async def test_redis_goes_away_and_comes_back_empty(make_settings: MakeSettings, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", tmp_path / "redis.log", "secret")
    await redis.start()
    settings = make_settings(**QUICK, redis_url=redis.url)
    await make_topics(settings)
    await register(settings)
    stay = asyncio.Event()

    async def talk(telling: Telling) -> None:
        await telling.admit()
        await telling.say("begun")
        await stay.wait()

    worker = FakeWorker(settings)
    async with (
        worker.running(),
        serving(settings) as ingress,
        httpx.AsyncClient(base_url=ingress.url, timeout=60) as client,
    ):
        await eventually(ingress.serves)
        ingress.house.subscriber.lost_after = 1.0
        worker.script = talk
        stream = await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)  # type: ignore[call-overload]

        async def listen() -> None:
            async for _ in stream:
                pass

        listening = asyncio.create_task(listen())
        await eventually(lambda: worker.tellings[0].said == 2)
        port = redis.port
        await redis.stop()

        await eventually(lambda: ingress.house.health.problems["redis"] is not None)
        for path in ("/v1/models", f"/v1/models/{MODEL}"):
            refused = await client.get(path)
            assert refused.status_code == 503
            assert "redis" in refused.json()["error"]["message"]
        with pytest.raises(APIStatusError) as caught:
            await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
        assert caught.value.status_code == 503
        # The worker is alive but has lost interest: the stream that had begun ends with an error. How soon, and that no
        # other stream is given up with it, is tested where the subscriber's clock is.
        with pytest.raises(APIError) as lost:
            await listening
        assert lost.value.code == "stream_lost"

        redis = RedisServer(tmp_path / "redis", tmp_path / "redis.log", "secret", port)
        await redis.start()
        stay.set()
        async with asyncio.timeout(60):
            while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110  it looks as a client does
                await asyncio.sleep(0.1)
        from integration.agon_ingress.conftest import hello

        worker.script = hello
        answer = await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == "Hello wörld"
    await redis.stop()


async def test_nothing_is_admitted_while_redis_is_nearly_full(
    make_settings: MakeSettings, worker: FakeWorker, tmp_path: Path
) -> None:
    async with serving(make_settings(redis_memory_share=1e-9)) as ingress:
        await ingress.house.redis.config_set("maxmemory", "1gb")
        try:
            await eventually(lambda: ingress.house.admission.memory > 0 and ingress.serves())
            with pytest.raises(APIStatusError) as caught:
                await ingress.client.chat.completions.create(model=MODEL, messages=MESSAGES)  # type: ignore[arg-type]
            assert caught.value.status_code == 503
            assert int(caught.value.response.headers["retry-after-ms"]) > 0
            assert worker.tellings == []
        finally:
            await ingress.house.redis.config_set("maxmemory", "512mb")
