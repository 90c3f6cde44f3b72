"""An adapter is a model of its own that lives on its base's topics: asked for by name, listed, resumed."""

import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from agon.bus import topic_admin
from agon.engine import Engine, Request, SamplingParams, Tokens
from agon.messages import ModelCard
from contract.engine.adapters import make_adapter
from contract.engine.tiny import make_hf_model, make_hf_tokenizer
from support.dying import at_tokens
from support.workers import Client, StartWorker, eventually

pytestmark = [pytest.mark.servers, pytest.mark.kill]

BASE, TUNED = "tiny", "Org/Tuned"
MESSAGES = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and an adapter for it."""
    base = tmp_path_factory.mktemp("base")
    model = make_hf_model("llama", torch.float64)
    model.config.max_position_embeddings = 4096
    model.save_pretrained(base)
    make_hf_tokenizer().save_pretrained(base)
    return base, make_adapter(tmp_path_factory.mktemp("adapter"), 3)


def spelled(folders: tuple[Path, Path]) -> tuple[str, str]:
    base, adapter = folders
    return f"{TUNED}={adapter},adapter-of={BASE}", f"{BASE}={base},dtype=float64"


def calm(folders: tuple[Path, Path], adapter: str | None, seed: int, tokens: int) -> str:
    """What the engine says when nobody is in between."""
    engine = Engine.from_pretrained(folders[0], dtype="float64")
    engine.load_adapter(TUNED, folders[1])
    engine.submit(
        Request("x", MESSAGES, SamplingParams(seed=seed, max_tokens=tokens, ignore_eos=True), adapter=adapter)
    )
    said = ""
    while engine.busy:
        said += "".join(event.text for event in engine.step() if isinstance(event, Tokens))
    return said


async def ask(client: Client, model: str, seed: int, tokens: int) -> str:
    """By its base's topic, which is where the ingress puts it too."""
    request_id = f"r-{model.split('/')[-1].lower()}-{seed}"
    fields = {"request_id": request_id, "model": model, "messages": MESSAGES, "seed": seed, "ignore_eos": True}
    await client.send(BASE, {**fields, "max_tokens": tokens})
    return request_id


async def test_requests_for_an_adapter_are_answered_under_it(
    client: Client, start_worker: StartWorker, folders: tuple[Path, Path]
) -> None:
    start_worker("w1", *spelled(folders))
    await client.reading("w1", model=BASE)
    asked = [await ask(client, model, seed, 20) for seed in (1, 2) for model in (BASE, TUNED)]
    done = await client.completed(*asked)
    assert [one.model for one in done] == [BASE, TUNED] * 2
    expected = [calm(folders, adapter, seed, 20) for seed in (1, 2) for adapter in (None, TUNED)]
    assert [one.choices[0].message.content for one in done] == expected
    assert len(set(expected)) == 4
    assert set((await client.state("w1")).models) == {BASE, TUNED}
    records = await client.records(client.place.topics.models)
    cards = {card.model: card for card in (ModelCard.decode(record.value) for record in records)}
    assert (cards[TUNED].base, cards[TUNED].host, cards[BASE].base) == (BASE, BASE, None)
    assert cards[TUNED].digest != cards[BASE].digest


async def test_an_answer_under_an_adapter_goes_on_at_another_worker(
    client: Client, start_worker: StartWorker, folders: tuple[Path, Path]
) -> None:
    await topic_admin.apply(client.place.kafka_url, client.place.topics.prefix, [BASE])
    asked = [await ask(client, model, 5, 150) for model in (TUNED, BASE)]  # which are there together when it comes
    doomed = start_worker("w1", *spelled(folders), before=partial(at_tokens, signal.SIGKILL, 2, 5))
    await doomed.ended()
    start_worker("w2", *spelled(folders))
    done = await client.completed(*asked)
    assert [one.attempt for one in done] == [2, 2], "it was killed in the middle"
    assert [one.choices[0].message.content for one in done] == [
        calm(folders, adapter, 5, 150) for adapter in (TUNED, None)
    ]


async def test_an_adapter_without_its_base_stops_the_worker_with_the_reason(
    start_worker: StartWorker, folders: tuple[Path, Path]
) -> None:
    worker = start_worker("w1", spelled(folders)[0])
    await eventually("it has ended", lambda: worker.process.poll() is not None, timeout=60)
    assert worker.process.returncode == 2
    assert f"the adapter `{TUNED}` needs its base `{BASE}`" in worker.told()
