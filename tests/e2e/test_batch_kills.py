"""Whoever moves a batch on, answers it or records it is killed in the middle: every line has one answer, and all others
go on."""

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAIError
from openai.types import Batch

from agon.bus import topic_admin
from agon.local.ports import free_port
from support.forked import Forked
from support.workers import Place, WorkerProcess, eventually, new_place

pytestmark = [pytest.mark.servers, pytest.mark.kill, pytest.mark.timeout(420)]

LINES = 240
# Slow enough that each kill meets many that run, and many that wait.
SOURCE = "script=scripted:delay=0.05,capacity=32"


@dataclass
class House:
    """Ingresses, a recorder and workers as processes of their own, which the test kills and starts again."""

    place: Place
    database_url: str
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    services: dict[str, Forked] = field(default_factory=dict)
    workers: dict[str, WorkerProcess] = field(default_factory=dict)
    clients: dict[int, AsyncOpenAI] = field(default_factory=dict)

    def start(self, name: str) -> None:
        if name.startswith("worker"):
            self.workers[name] = WorkerProcess(self.place, name, [SOURCE])
            return
        port = {"AGON_HTTP_PORT": str(self.ports[int(name[-1])])} if name.startswith("ingress") else {}
        environment = self.place.environment(AGON_NAME=name, AGON_POSTGRES_URL=self.database_url, **port)
        self.services[name] = Forked(f"agon_{name.rstrip('01-')}", environment, self.place.folder / f"{name}.log")

    def kill(self, name: str) -> None:
        if name.startswith("worker"):
            self.workers[name].kill()
        else:
            self.services[name].kill()
            self.services[name].wait(60)

    def client(self, number: int = 0) -> AsyncOpenAI:
        """Of one of the ingresses; it tries again while that is away."""
        if number not in self.clients:
            url = f"http://127.0.0.1:{self.ports[number]}/v1"
            self.clients[number] = AsyncOpenAI(base_url=url, api_key="none", max_retries=8, timeout=60)
        return self.clients[number]


@asynccontextmanager
async def house(place: Place, database_url: str) -> AsyncIterator[House]:
    await topic_admin.apply(place.kafka_url, place.topics.prefix)
    made = House(place, database_url)
    try:
        for name in ("worker-0", "worker-1", "ingress-0", "ingress-1", "recorder"):
            made.start(name)
        for number in (0, 1):
            await eventually("the model is served", lambda number=number: _served(made.client(number)), every=0.2)
        yield made
    finally:
        for client in made.clients.values():
            await client.close()
        for process in made.services.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(60)
        for worker in made.workers.values():
            worker.kill()


async def _served(client: AsyncOpenAI) -> bool:
    try:
        return bool((await client.models.list()).data)
    except OpenAIError:
        return False


async def _completed(client: AsyncOpenAI, batch: Batch) -> int:
    counts = (await client.batches.retrieve(batch.id)).request_counts
    assert counts is not None
    return counts.completed


async def test_every_line_is_answered_once_whoever_is_killed(
    kafka_url: str, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    draw = random.Random(7)
    async with house(new_place(kafka_url, redis_url, tmp_path), database_url) as made:
        url = "/v1/chat/completions"
        bodies = [{"model": "script", "messages": [{"role": "user", "content": f"Say {n}."}]} for n in range(LINES)]
        lines = [{"custom_id": str(n), "method": "POST", "url": url, "body": body} for n, body in enumerate(bodies)]
        client = made.client()
        file = await client.files.create(file="\n".join(map(json.dumps, lines)).encode(), purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")  # type: ignore[arg-type]

        # Which of the two drives it, nobody knows: both are killed in turn.
        victims = ["ingress-0", "worker-0", "recorder", "ingress-1", "worker-1"]
        for number, victim in enumerate(victims, 1):
            least = LINES * number // 8
            alive = made.client(1 if victim == "ingress-0" else 0)

            async def far_enough(alive: AsyncOpenAI = alive, least: int = least) -> bool:
                return await _completed(alive, batch) >= least

            await eventually(f"{least} lines are done", far_enough, every=0.1)
            made.kill(victim)
            await asyncio.sleep(draw.random())
            made.start(victim)
            if victim == "ingress-0":
                await eventually("it is back", lambda: _served(made.client(0)), every=0.2)

        async def over() -> Batch | None:
            now = await client.batches.retrieve(batch.id)
            return now if now.status not in ("validating", "in_progress", "finalizing") else None

        ended: Batch = await eventually("the batch has ended", over, 180, 0.2)
        assert ended.status == "completed"
        assert ended.error_file_id is None
        assert ended.output_file_id is not None
        answers = [json.loads(line) for line in (await client.files.content(ended.output_file_id)).text.splitlines()]
        assert sorted(int(answer["custom_id"]) for answer in answers) == list(range(LINES))
        for answer in answers:
            said = answer["response"]["body"]["choices"][0]["message"]["content"]
            assert said.startswith(f"You said: Say {answer['custom_id']}. ")
        assert len((await client.files.list(purpose="batch_output")).data) == 1
