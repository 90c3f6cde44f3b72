"""What a request may ask of its output, asked on Kafka: answered in the completion, also when a worker dies over it."""

import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from agon.bus import topic_admin
from agon.engine import Choice, Engine, Guide, SamplingParams
from agon.messages import GenerationCompleted
from contract.engine.tiny import make_hf_model, make_hf_tokenizer
from support.dying import at_tokens
from support.workers import Client, StartWorker

pytestmark = [pytest.mark.servers, pytest.mark.kill]

MODEL = "tiny"
MESSAGES = [{"role": "user", "content": "hello"}]
WORDS = "([a-y]{2,4} ){40}[a-z]+;"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    model = make_hf_model("llama", torch.float64)
    model.config.max_position_embeddings = 4096
    model.save_pretrained(folder)
    make_hf_tokenizer().save_pretrained(folder)
    return folder


def calm(folder: Path, params: SamplingParams) -> list[Choice]:
    """What the engine says when nobody is in between."""
    return Engine.from_pretrained(folder, dtype="float64").generate([MESSAGES], params)[0].choices


def contents(completion: GenerationCompleted) -> list[str | None]:
    return [choice.message.content for choice in completion.choices]


async def test_every_field_of_the_output_is_answered(client: Client, start_worker: StartWorker, folder: Path) -> None:
    start_worker("w1", f"{MODEL}={folder},dtype=float64")
    await client.reading("w1", model=MODEL)
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}

    async def ask(**fields: Any) -> str:
        return await client.ask(MODEL, seed=1, **fields)

    bad = {"type": "json_schema", "json_schema": {"schema": {"properties": {"a": {"format": "nope"}}}}}
    five = {"max_tokens": 5, "ignore_eos": True}
    asked = [
        await ask(response_format={"type": "choice", "choices": ["yes", "no"]}, n=2),
        await ask(response_format={"type": "json_schema", "json_schema": {"schema": schema}}),
        await ask(
            max_tokens=5, ignore_eos=True, logprobs=True, top_logprobs=2, prompt_logprobs=0, logit_bias={"40": 9}
        ),
        await ask(**five, n=1, best_of=3, presence_penalty=1, min_p=0.05),
        await ask(response_format=bad),
        await ask(stop_token_ids=[999]),
    ]
    await client.send(MODEL, {"request_id": "echo", "model": MODEL, "kind": "completion", "prompt": [40, 41, 42],
                              "echo": True, "max_tokens": 2, "ignore_eos": True, "prompt_logprobs": 1})  # fmt: skip
    chosen, formed, scored, best, unfit, outside, echoed = await client.completed(*asked, "echo")
    assert set(contents(chosen)) <= {"yes", "no"}
    assert len(chosen.choices) == 2
    assert re.fullmatch(r'\{\s*"a"\s*:\s*[12]\s*\}', contents(formed)[0] or "")
    assert scored.choices[0].logprobs is not None
    items = scored.choices[0].logprobs.content
    assert [len(item.top_logprobs) for item in items] == [2] * 5
    assert bytes(b for item in items for b in item.bytes or ()).decode("utf-8", "replace") == contents(scored)[0]
    assert scored.prompt_logprobs is not None
    assert len(scored.prompt_logprobs) == scored.usage.prompt_tokens
    assert (len(best.choices), best.usage.completion_tokens) == (1, 15)
    for failed, param in ((unfit, "#/properties/a: Unknown format: nope"), (outside, "999")):
        assert failed.status == "failed"
        assert failed.error is not None
        assert (failed.error.type, param in failed.error.message) == ("invalid_request_error", True)
    prompt = make_hf_tokenizer().decode([40, 41, 42])
    assert (contents(echoed)[0] or "").startswith(prompt)
    assert [item.token for item in echoed.prompt_logprobs or ()] == [
        make_hf_tokenizer().decode([i]) for i in (40, 41, 42)
    ]


async def test_guided_answers_with_stop_strings_and_log_probabilities_go_on_at_another_worker(
    client: Client, start_worker: StartWorker, folder: Path
) -> None:
    await topic_admin.apply(client.place.kafka_url, client.place.topics.prefix, [MODEL])
    fields = {"response_format": {"type": "regex", "pattern": WORDS}, "seed": 3, "max_tokens": 400, "logprobs": True}
    asked = [
        await client.ask(MODEL, **fields, n=2, repetition_penalty=1.1),
        await client.ask(MODEL, **fields, stop=["z", "qq"]),
    ]
    # They are there together when it comes.
    doomed = start_worker("w1", f"{MODEL}={folder},dtype=float64", before=partial(at_tokens, signal.SIGKILL, 2, 8))
    await doomed.ended()
    start_worker("w2", f"{MODEL}={folder},dtype=float64")
    done = await client.completed(*asked)
    assert [one.attempt for one in done] == [2, 2], "it was killed in the middle"
    params = {"guide": Guide.regex(WORDS), "seed": 3, "max_tokens": 400, "logprobs": 0}
    expected = [
        calm(folder, SamplingParams(**params, n=2, repetition_penalty=1.1)),
        calm(folder, SamplingParams(**params, stop=("z", "qq"))),
    ]
    for completion, choices in zip(done, expected, strict=True):
        assert contents(completion) == [choice.text for choice in choices]
        for told, choice in zip(completion.choices, choices, strict=True):
            assert told.finish_reason == choice.finish_reason == "stop"
            assert re.fullmatch(WORDS, choice.text)
            assert told.logprobs is not None
            assert [item.logprob for item in told.logprobs.content] == pytest.approx(
                [item.logprob for item in choice.logprobs or ()], abs=1e-6
            )
