"""Workers die, sleep and come back under load; clients see one whole answer each, and Kafka one end."""

import asyncio
import json
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from agon import nano
from agon.bus import topic_admin
from agon.local.ports import free_port
from agon.local.redis import RedisServer
from support.forked import Forked
from support.workers import Client, Place, WorkerProcess, client_of, eventually, new_place

pytestmark = [pytest.mark.servers, pytest.mark.kill, pytest.mark.timeout(420)]

MODEL = "nano"
# Tokens are compared to the last one. In float32 another batch may round another way, so the model runs in float64.
SMALLEST = min(nano.models().values(), key=lambda folder: (folder / "model.safetensors").stat().st_size)
SOURCE = f"{MODEL}={SMALLEST},dtype=float64"
STREAMS = 30
KILLS = 20
TOKENS = 160


@dataclass(frozen=True)
class Ask:
    """A chat whose answer is known: greedy, or drawn with a seed."""

    prompt: str
    temperature: float
    seed: int

    def body(self, *, tokens: int = TOKENS) -> dict[str, Any]:
        return {
            "model": MODEL,
            "messages": [{"role": "user", "content": self.prompt}],
            "temperature": self.temperature,
            "seed": self.seed,
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
        }


ASKS = [
    Ask(prompt, temperature, seed)
    for seed, prompt in enumerate(("Tell me a story.", "Spell river.", "Count to nine.", "Who are you?", "Hello!"))
    for temperature in (0.0, 1.0)
]


@dataclass
class Told:
    """What a client has read of one stream."""

    request_id: str = ""
    text: str = ""
    finishes: int = 0
    done: bool = False
    error: str | None = None
    longest_silence: float = 0.0
    status: int = 0
    retry_after: float | None = None
    """Seconds, where the server asked to come again: with both workers dead it takes no request."""


@dataclass
class House:
    """An ingress and workers as processes of their own, on the servers of the test run."""

    place: Place
    client: Client
    ingress: Forked
    port: int
    source: str
    settings: dict[str, str]
    workers: dict[str, WorkerProcess] = field(default_factory=dict)

    def start(self, name: str) -> WorkerProcess:
        self.workers[name] = WorkerProcess(self.place, name, [self.source], **self.settings)
        return self.workers[name]

    async def stream(self, body: dict[str, Any], seen: Callable[[Told], None] = lambda _: None) -> Told:
        """Read one chat to its end, as a plain client does."""
        told = Told()
        payload = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(
                b"POST /v1/chat/completions HTTP/1.0\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(payload) + payload
            )
            at = time.monotonic()
            async for line in reader:
                told.longest_silence = max(told.longest_silence, time.monotonic() - at)
                at = time.monotonic()
                if not told.status:
                    told.status = int(line.split()[1])
                elif line.lower().startswith(b"retry-after-ms: "):
                    told.retry_after = float(line[16:]) / 1000
                elif line.startswith(b"data: "):
                    _read(line[6:].strip(), told)
                    seen(told)
        finally:
            writer.close()
        return told


def _read(data: bytes, told: Told) -> None:
    if data == b"[DONE]":
        told.done = True
        return
    event = json.loads(data)
    if "error" in event:
        told.error = event["error"]["code"]
        return
    told.request_id = event["id"]
    for choice in event["choices"]:
        told.text += choice["delta"].get("content") or ""
        told.finishes += choice["finish_reason"] is not None


def _ingress(place: Place, **environment: str) -> Forked:
    environment = place.environment(AGON_NAME="ingress", **environment)
    return Forked("agon_ingress", environment, place.folder / "ingress.log")


@asynccontextmanager
async def house(
    place: Place, database_url: str, workers: int, source: str = SOURCE, **settings: str
) -> AsyncIterator[House]:
    """Start an ingress and workers, all with these settings; ready once a chat would succeed."""
    await topic_admin.apply(place.kafka_url, place.topics.prefix)
    port = free_port()
    ingress = _ingress(place, AGON_HTTP_PORT=str(port), AGON_POSTGRES_URL=database_url, **settings)
    async with client_of(place) as client:
        made = House(place, client, ingress, port, source, settings)
        try:
            for number in range(workers):
                made.start(f"inference-{number + 1}")
            await client.reading(*made.workers, model=MODEL)
            await eventually("the ingress answers", lambda: _listens(port))
            await eventually("a chat succeeds", lambda: _chats(made))
            yield made
        finally:
            for worker in made.workers.values():
                worker.kill()
            ingress.kill()
            ingress.wait(60)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _chats(made: House) -> bool:
    return (await made.stream(ASKS[0].body(tokens=1))).done


def _is_whole(told: Told, expected: str) -> None:
    assert (told.status, told.error) == (200, None), told
    assert told.text == expected, f"{told.request_id}: {told.text!r} is not {expected!r}"
    assert (told.finishes, told.done) == (1, True), told


async def test_thirty_streams_survive_twenty_kills_with_the_text_of_an_undisturbed_run(
    kafka_url: str, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    draw = random.Random(7)
    async with house(new_place(kafka_url, redis_url, tmp_path), database_url, workers=2) as made:
        undisturbed = await asyncio.gather(*(made.stream(ask.body()) for ask in ASKS))
        expected = {ask: told.text for ask, told in zip(ASKS, undisturbed, strict=True)}
        assert all(len(text) > 40 for text in expected.values())

        kills, streams = 0, [0] * STREAMS
        finished: list[tuple[Ask, Told]] = []

        async def keep_asking(number: int) -> None:
            while kills < KILLS or not streams[number]:
                ask = draw.choice(ASKS)
                finished.append((ask, await accepted(ask)))
                streams[number] += 1

        async def accepted(ask: Ask) -> Told:
            """What a request was told that was not refused because every worker was dead just then."""
            while (told := await made.stream(ask.body())).status == 503:
                assert told.retry_after is not None, told
                await asyncio.sleep(told.retry_after)
            return told

        async def keep_killing() -> None:
            nonlocal kills
            while kills < KILLS:
                await asyncio.sleep(draw.uniform(0.2, 2))
                # Now and then all of them: then nobody is left, new requests are refused and the open ones wait.
                for victim in draw.sample(sorted(made.workers), draw.choice((1, 1, 1, len(made.workers)))):
                    made.workers[victim].kill()
                    kills += 1
                    made.start(victim)

        async with asyncio.timeout(360), asyncio.TaskGroup() as group:
            group.create_task(keep_killing())
            for number in range(STREAMS):
                group.create_task(keep_asking(number))

        for ask, told in finished:
            _is_whole(told, expected[ask])
        resumed = sum(_attempts(completions) > 1 for completions in (await made.client.completions()).values())
        print(f"{len(finished)} streams, {resumed} of them resumed, {kills} kills")
        assert resumed >= KILLS / 4, "the kills hit nothing: this test would prove nothing"
        await _has_one_end(made.client, [told.request_id for _, told in finished])


def _attempts(completions: list[Any]) -> int:
    return max(int(completion.attempt) for completion in completions)


async def _has_one_end(client: Client, request_ids: list[str]) -> None:
    """Each request has an end, and where a crash has repeated it, the same one."""
    await client.completed(*request_ids)
    found = await client.completions()
    for request_id in request_ids:
        ends = {(end.status, end.usage.completion_tokens) for end in found[request_id]}
        assert ends == {("finished", TOKENS)}, found[request_id]


async def test_a_worker_that_sleeps_beyond_its_lease_changes_nothing_that_a_client_sees(
    kafka_url: str, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    async with house(new_place(kafka_url, redis_url, tmp_path), database_url, workers=2) as made:
        expected = (await made.stream(ASKS[1].body(tokens=500))).text
        begun: set[str] = set()
        streams = [
            asyncio.create_task(made.stream(ASKS[1].body(tokens=500), lambda told: begun.add(told.request_id)))
            for _ in range(8)
        ]
        await eventually("all streams have begun", lambda: len(begun) == 8)
        sleeper = made.workers["inference-1"]
        sleeper.signal(signal.SIGSTOP)

        async def given_up() -> bool:
            return all(state.worker != "inference-1" for state in await made.client.alive())

        await eventually("the sleeper's lease is over", given_up)
        if awake := [stream for stream in streams if not stream.done()]:
            await asyncio.wait(awake, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        sleeper.signal(signal.SIGCONT)
        for told in await asyncio.wait_for(asyncio.gather(*streams), 120):
            _is_whole(told, expected)


async def test_when_the_ingress_is_killed_its_requests_still_have_exactly_one_end(
    kafka_url: str, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    slow = f"{MODEL}=scripted:mode=random,tokens=400,delay=0.05"
    place = new_place(kafka_url, redis_url, tmp_path)
    async with house(place, database_url, 1, slow, AGON_INGRESS_TTL="5") as made:
        begun: set[str] = set()
        streams = [
            asyncio.create_task(
                made.stream({**ASKS[0].body(), "max_tokens": 400}, lambda told: begun.add(told.request_id))
            )
            for _ in range(5)
        ]
        await eventually("all streams have begun", lambda: len(begun - {""}) == 5)
        made.ingress.kill()
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        completions = await made.client.completed(*begun)
        assert {completion.status for completion in completions} == {"cancelled"}
        assert {len(ends) for name, ends in (await made.client.completions()).items() if name in begun} == {1}


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A Redis that the test may empty; `url_of` tells its address."""
    server = RedisServer(tmp_path / "redis", tmp_path / "redis.log", "secret")
    await server.start()
    admin = Redis.from_url(server.url)
    try:
        yield admin
    finally:
        await admin.aclose()
        await server.stop()


def url_of(redis: Redis) -> str:
    at = redis.connection_pool.connection_kwargs
    return f"redis://:{at['password']}@{at['host']}:{at['port']}/0"


async def test_a_redis_that_loses_everything_costs_nothing_while_the_worker_lives(
    kafka_url: str, own_redis: Redis, database_url: str, tmp_path: Path
) -> None:
    slow = f"{MODEL}=scripted:mode=random,tokens=200,delay=0.02"
    place = new_place(kafka_url, url_of(own_redis), tmp_path)
    # An ingress that stands still just then is not gone.
    async with house(place, database_url, 1, slow, AGON_INGRESS_MISSES="60") as made:
        body = {**ASKS[0].body(), "max_tokens": 200}
        expected = (await made.stream(body)).text
        begun: set[str] = set()
        streams = [asyncio.create_task(made.stream(body, lambda told: begun.add(told.request_id))) for _ in range(5)]
        await eventually("all streams have begun", lambda: len(begun - {""}) == 5)
        await own_redis.flushall()
        for told in await asyncio.wait_for(asyncio.gather(*streams), 120):
            _is_whole(told, expected)


async def test_a_redis_that_loses_everything_together_with_the_worker_ends_the_stream_with_an_error_in_time(
    kafka_url: str, own_redis: Redis, database_url: str, tmp_path: Path
) -> None:
    slow = f"{MODEL}=scripted:mode=random,tokens=2000,delay=0.05"
    async with house(new_place(kafka_url, url_of(own_redis), tmp_path), database_url, 1, slow) as made:
        begun: set[str] = set()
        body = {**ASKS[0].body(), "max_tokens": 2000}
        stream = asyncio.create_task(made.stream(body, lambda told: begun.add(told.request_id)))
        await eventually("the stream has begun", lambda: begun - {""})
        made.workers["inference-1"].kill()
        await own_redis.flushall()
        told = await asyncio.wait_for(stream, 60)  # it would go on for longer
        assert told.error == "stream_lost"
