"""Fine-tuned adapters over HTTP: loaded while the worker runs, in one batch with their base, dropped in the middle."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from openai import AsyncOpenAI, NotFoundError

from agon.bus import registry, topic_admin
from agon.bus.clients import started_producer
from agon.engine import Engine, Request, SamplingParams, Tokens
from agon.local.ports import free_port
from agon.messages import ModelCard
from agon.settings import Settings
from contract.engine.adapters import make_adapter
from contract.engine.tiny import make_hf_model, make_hf_tokenizer
from support import forked
from support.dying import at_tokens
from support.forked import Forked
from support.workers import Client, Place, WorkerProcess, client_of, eventually, new_place

pytestmark = [pytest.mark.servers, pytest.mark.kill, pytest.mark.timeout(600)]

BASE, POET, BARD = "tiny", "Org/poet", "bard"
MESSAGES = [{"role": "user", "content": "hello there"}]
TOKENS = 800


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("base")
    model = make_hf_model("llama", torch.float64)
    model.config.max_position_embeddings = 4096
    model.save_pretrained(base)
    make_hf_tokenizer().save_pretrained(base)
    made = {name: make_adapter(tmp_path_factory.mktemp("adapter"), seed) for seed, name in enumerate((POET, BARD))}
    return {BASE: base, **made}


def calm(folders: dict[str, Path]) -> dict[str, str]:
    """What the engine says under each when nobody is in between."""
    engine = Engine.from_pretrained(folders[BASE], dtype="float64")
    for name in (POET, BARD):
        engine.load_adapter(name, folders[name])
    for name in folders:
        params = SamplingParams(seed=7, max_tokens=TOKENS, ignore_eos=True)
        engine.submit(Request(name, MESSAGES, params, adapter=None if name == BASE else name))
    said = dict.fromkeys(folders, "")
    while engine.busy:
        for event in engine.step():
            said[event.key] += event.text if isinstance(event, Tokens) else ""
    return said


class Stack:
    """An ingress and a worker as processes, and an official client."""

    def __init__(self, place: Place, client: Client, http: AsyncOpenAI, worker: WorkerProcess) -> None:
        self.place, self.client, self.http, self.worker = place, client, http, worker
        self.settings = Settings(
            kafka_url=place.kafka_url, topic_prefix=place.topics.prefix, key_prefix=place.keys.prefix, name="test"
        )

    def agon(self, *arguments: str) -> str:
        """A command, as an operator gives it."""
        done = forked.agon(*arguments, environment=self.place.environment(), timeout=180)
        return f"{done.returncode}: {done.stdout}{done.stderr}"

    async def withdraw(self, name: str) -> None:
        cards = await registry.read(self.settings)
        async with started_producer(self.settings) as producer:
            card = cards[name].model_copy(update={"state": "withdrawn"})
            await registry.publish(self.settings, producer, card)

    async def listed(self, *models: str) -> dict[str, str | None]:
        """Wait until exactly these are in `/v1/models`; the base of each."""

        async def there() -> dict[str, str | None] | None:
            found = {model.id: model.base async for model in await self.http.models.list()}  # type: ignore[attr-defined]
            return found if set(found) == set(models) else None

        return await eventually(f"{models} are listed", there, 120)  # type: ignore[no-any-return]

    async def ask(self, model: str) -> str:
        said = ""
        stream = await self.http.chat.completions.create(
            model=model, messages=MESSAGES, seed=7, max_tokens=TOKENS, stream=True, extra_body={"ignore_eos": True}
        )  # type: ignore[call-overload]
        async for chunk in stream:
            said += "".join(choice.delta.content or "" for choice in chunk.choices)
        return said


def start_ingress(place: Place, port: int, database_url: str) -> Forked:
    environment = place.environment(AGON_NAME="ingress", AGON_HTTP_PORT=str(port), AGON_POSTGRES_URL=database_url)
    return Forked("agon_ingress", environment, place.folder / "ingress.log")


@asynccontextmanager
async def running(place: Place, database_url: str, folder: Path) -> AsyncIterator[Stack]:
    await topic_admin.apply(place.kafka_url, place.topics.prefix)
    port = free_port()
    ingress = start_ingress(place, port, database_url)
    # While it stands still it is alive.
    worker = WorkerProcess(
        place,
        "w1",
        [f"{BASE}={folder},dtype=float64"],
        before=partial(at_tokens, signal.SIGSTOP, 3, 5),
        AGON_WORKER_TTL="60",
    )
    http = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=8)
    try:
        async with client_of(place) as client:
            await client.reading("w1", model=BASE, timeout=300)
            yield Stack(place, client, http, worker)
    finally:
        await http.close()
        worker.kill()
        ingress.kill()
        ingress.wait(60)


@pytest.fixture
def second(kafka_url: str, redis_url: str, tmp_path: Path) -> Iterator[list[WorkerProcess]]:
    """Workers that a test starts besides."""
    started: list[WorkerProcess] = []
    yield started
    for worker in started:
        worker.kill()


async def test_a_base_and_two_adapters_share_a_batch_and_one_is_dropped_while_it_answers(
    kafka_url: str,
    redis_url: str,
    database_url: str,
    tmp_path: Path,
    folders: dict[str, Path],
    second: list[WorkerProcess],
) -> None:
    place = new_place(kafka_url, redis_url, tmp_path)
    async with running(place, database_url, folders[BASE]) as stack:
        await stack.listed(BASE)
        await loads_one_and_refuses_others(stack, folders, tmp_path / "nowhere")
        told = await asyncio.to_thread(stack.agon, "adapters", "load", BARD, str(folders[BARD]), "--base", BASE)
        assert told.startswith("0: "), told
        assert await stack.listed(BASE, POET, BARD) == {BASE: None, POET: BASE, BARD: BASE}

        asked = {name: asyncio.create_task(stack.ask(name)) for name in folders}
        await stack.worker.stopped()  # all three have some tokens, and none has all: they are in one batch
        await stack.withdraw(BARD)
        await stack.listed(BASE, POET)
        stack.worker.signal(signal.SIGCONT)
        expected = calm(folders)
        assert {name: await asyncio.wait_for(task, 300) for name, task in asked.items()} == expected
        assert len(set(expected.values())) == 3
        with pytest.raises(NotFoundError, match="does not exist"):
            await stack.ask(BARD)

        # A worker that comes later finds them in the registry.
        second.append(WorkerProcess(place, "w2", [f"{BASE}={folders[BASE]},dtype=float64"]))
        await stack.client.reading("w1", "w2", model=BASE, timeout=300)
        assert [set((await stack.client.state(name)).models) for name in ("w1", "w2")] == [{BASE, POET}] * 2
        assert (await asyncio.to_thread(stack.agon, "adapters", "drop", POET)).startswith("0: ")
        await stack.listed(BASE)


async def loads_one_and_refuses_others(stack: Stack, folders: dict[str, Path], nowhere: Path) -> None:
    """What cannot be served is refused in one line and harms nobody: one that can is served beside it."""

    async def says(*arguments: str) -> str:
        return await asyncio.to_thread(stack.agon, "adapters", *arguments)

    for arguments, reason in (
        (("load", "a", str(folders[POET]), "--base", "nobody"), "no model `nobody` is registered"),
        (("load", "a", str(folders[BASE]), "--base", BASE), "adapter_config.json is missing"),
        (("load", BASE, str(folders[POET]), "--base", BASE), "is registered as"),
        (("drop", BASE), "is no adapter"),
    ):
        told = await says(*arguments)
        assert told.startswith("2: agon: "), told
        assert reason in told, told
        assert told.count("\n") == 1, told

    # Registered by hand: other files than its digest says, and no files at all.
    base = (await registry.read(stack.settings))[BASE]
    lying: list[ModelCard] = [
        base.model_copy(update={"model": "liar", "base": BASE, "source": str(folders[BARD])}),
        base.model_copy(update={"model": "ghost", "base": BASE, "source": str(nowhere)}),
    ]
    async with started_producer(stack.settings) as producer:
        for card in lying:
            await registry.publish(stack.settings, producer, card)
    assert (await says("load", POET, str(folders[POET]), "--base", BASE)).startswith("0: ")
    assert await stack.listed(BASE, POET) == {BASE: None, POET: BASE}
    log = stack.worker.told()
    assert "the adapter liar is not served: it is registered as" in log
    assert "the adapter ghost is not served: there is no folder" in log
