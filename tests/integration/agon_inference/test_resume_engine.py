"""A real engine's answers go on at another worker: with a form, stop strings, an adapter, a prompt in the cache."""

import asyncio
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from agon.engine import Choice, Engine, Guide, Request, SamplingParams
from agon.engine.answers import answer_of
from agon.messages import GenerationCompleted
from contract.engine.adapters import make_adapter
from contract.engine.tiny import make_hf_model, make_hf_tokenizer, run
from support.dying import at_tokens
from support.workers import Client, StartWorker

pytestmark = [pytest.mark.servers, pytest.mark.kill, pytest.mark.timeout(600)]

BASE, TUNED = "tiny", "tuned"
MESSAGES = [{"role": "system", "content": "the quick brown fox " * 8}, {"role": "user", "content": "hello"}]
WORDS = "([a-y]{2,4} ){200}[a-z]+;"
FORM: dict[str, Any] = {"response_format": {"type": "regex", "pattern": WORDS}, "max_tokens": 1200}
FREE: dict[str, Any] = {"max_tokens": 600, "ignore_eos": True}
ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "form": (BASE, {**FORM, "stop": ["z", "qq"], "logprobs": True}),
    "adapted-form": (TUNED, {**FORM, "stop": ["z", "qq"]}),
    "adapted": (TUNED, {**FREE, "n": 2, "frequency_penalty": 0.5}),
    "free": (BASE, {**FREE, "stop": ["hello the"]}),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model and an adapter for it, as workers are told."""
    base = tmp_path_factory.mktemp("base")
    model = make_hf_model("llama", torch.float64)
    model.config.max_position_embeddings = 4096
    model.save_pretrained(base)
    make_hf_tokenizer().save_pretrained(base)
    adapter = make_adapter(tmp_path_factory.mktemp("adapter"), 3)
    return f"{BASE}={base},dtype=float64", f"{TUNED}={adapter},adapter-of={BASE}"


def calm(models: tuple[str, str]) -> dict[str, list[Choice]]:
    """What the engine says when nobody is in between."""
    folder, adapter = (Path(model.partition("=")[2].split(",")[0]) for model in models)
    engine = Engine.from_pretrained(folder, dtype="float64")
    engine.load_adapter(TUNED, adapter)
    said = {}
    for name, (model, fields) in ASKS.items():
        given = {key: value for key, value in fields.items() if key != "response_format"}
        given["guide"] = Guide.regex(WORDS) if "response_format" in fields else None
        given["logprobs"] = 0 if given.get("logprobs") else None
        params = SamplingParams(seed=3, **given)
        request = Request(name, MESSAGES, params, adapter=TUNED if model == TUNED else None)
        said[name] = answer_of(run(engine, request)[name], params.n).choices
    return said


def told(completion: GenerationCompleted) -> list[tuple[str | None, str | None]]:
    return [(choice.message.content, choice.finish_reason) for choice in completion.choices]


async def test_answers_of_every_make_go_on_at_a_worker_that_has_their_prompts_in_its_cache(
    client: Client, start_worker: StartWorker, models: tuple[str, str]
) -> None:
    doomed = start_worker("w1", *models, before=partial(at_tokens, signal.SIGKILL, len(ASKS), 8))
    start_worker("w2", *models)
    await client.reading("w1", "w2", model=BASE, timeout=300)
    topic = client.place.topics.requests(BASE)
    held = {name: (await client.state(name)).partitions[topic] for name in ("w1", "w2")}

    async def ask(name: str, worker: str, **fields: Any) -> None:
        model, own = ASKS[name.removeprefix("warm-")]
        asked = {"request_id": name, "model": model, "messages": MESSAGES, "seed": 3, **own, **fields}
        await client.send(BASE, asked, partition=held[worker][0])

    warm = {"max_tokens": 1, "n": 1, "response_format": None, "logprobs": False}
    for name in ASKS:
        await ask(f"warm-{name}", "w2", **warm)
    warmed = await client.completed(*(f"warm-{name}" for name in ASKS), timeout=120)
    assert {one.worker for one in warmed} == {"w2"}
    await asyncio.gather(*(ask(name, "w1") for name in ASKS))
    await doomed.ended()
    done = dict(zip(ASKS, await client.completed(*ASKS, timeout=180), strict=True))
    expected = calm(models)
    for name, completion in done.items():
        assert (completion.attempt, completion.worker) == (2, "w2"), "it was killed in the middle"
        assert told(completion) == [(choice.text, choice.finish_reason) for choice in expected[name]]
        prompt = completion.usage.prompt_tokens
        assert completion.usage.cached_tokens >= (prompt - 1) // 16 * 16 > 16, "its prompt was in the cache"
    scores = done["form"].choices[0].logprobs
    assert scores is not None
    wanted = [item.logprob for item in expected["form"][0].logprobs or ()]
    assert [item.logprob for item in scores.content] == pytest.approx(wanted, abs=1e-6)
