"""The engine as a backend: jobs in, events out, and a card that says what answers."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from agon.backends import Admitted, BackendSpec, Event, Failed, Finished, Job, SteppedBackend, Tokens, load
from agon.backends.engine import EngineBackend, as_request, folder_digest
from agon.engine import Conversation, Guide, SamplingParams
from agon.engine.params import Limits
from agon.errors import Expired, InvalidRequest, ModelNotFound
from agon.messages import GenerationRequest
from contract.engine.adapters import make_adapter
from contract.engine.tiny import make_hf_model, make_hf_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    make_hf_model("llama", torch.float32).save_pretrained(path)
    make_hf_tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def backend(folder: Path) -> EngineBackend:
    made = load(BackendSpec.parse(f"tiny={folder}"), Limits(max_sequences=4))
    assert isinstance(made, EngineBackend)
    assert isinstance(made, SteppedBackend)
    return made


def job(request_id: str = "r", emitted: tuple[tuple[int, ...], ...] = (), **fields: Any) -> Job:
    asked = {"model": "tiny", "seed": 1, "messages": [{"role": "user", "content": "hi"}], "request_id": request_id}
    return Job(GenerationRequest.model_validate(asked | fields), emitted)


def run(backend: EngineBackend, *jobs: Job) -> list[Event]:
    for each in jobs:
        backend.submit(each)
    events: list[Event] = []
    while backend.idle_for() is not None:
        events += backend.step()
    return events


def tokens(events: Sequence[Event]) -> tuple[int, ...]:
    return tuple(token for event in events if isinstance(event, Tokens) for token in event.token_ids)


def test_a_chat_is_answered_and_counted(backend: EngineBackend) -> None:
    first, *told, last = run(backend, job(max_tokens=6, ignore_eos=True))
    assert isinstance(first, Admitted)
    assert [event.at for event in told if isinstance(event, Tokens)] == list(range(6))
    assert last == Finished("default/r", first.prompt_tokens, 6)
    assert backend.load().running == backend.load().waiting == 0
    assert backend.load().capacity == 4


def test_a_job_goes_on_behind_what_was_emitted(backend: EngineBackend) -> None:
    whole = tokens(run(backend, job(max_tokens=9, ignore_eos=True)))
    resumed = run(backend, job(max_tokens=9, ignore_eos=True, emitted=(whole[:4],)))
    assert tokens(resumed) == whole[4:]
    assert isinstance(resumed[1], Tokens)
    assert resumed[1].at == 4


def test_what_an_engine_cannot_do_is_a_failed_event(backend: EngineBackend) -> None:
    events = run(
        backend,
        job("e", kind="embedding", prompt="x", messages=None),
        job("d", deadline="2020-01-01T00:00:00Z"),
    )
    embedding, late = (event for event in events if isinstance(event, Failed))
    assert isinstance(embedding.error, InvalidRequest)
    assert isinstance(late.error, Expired)


def test_a_request_is_translated_field_by_field() -> None:
    request = as_request(
        job(
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ],
            max_completion_tokens=3,
            top_k=-1,
            top_p=0.5,
            temperature=0,
            stop="x",
            n=2,
            priority="batch",
            min_p=0.1,
            typical_p=0.9,
            presence_penalty=1,
            frequency_penalty=-1,
            repetition_penalty=1.5,
            logit_bias={"7": 2},
            stop_token_ids=[9],
            min_tokens=2,
            best_of=3,
            logprobs=True,
            top_logprobs=4,
            prompt_logprobs=0,
            response_format={"type": "choice", "choices": ["a", "b"]},
            tools=[{"type": "function", "function": {"name": "add"}}],
            chat_template_kwargs={"brief": True},
        )
    )
    assert request.prompt == Conversation(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "ab"}],
        ({"type": "function", "function": {"name": "add"}},),
        {"brief": True},
        spare=3,
    )
    params = request.params
    assert params == SamplingParams(
        temperature=0, top_p=0.5, top_k=-1, min_p=0.1, typical_p=0.9, presence_penalty=1, frequency_penalty=-1,
        repetition_penalty=1.5, logit_bias={7: 2}, seed=1, max_tokens=3, min_tokens=2, n=2, best_of=3, stop="x",
        stop_token_ids=(9,), guide=Guide.choice("a", "b"), logprobs=4, prompt_logprobs=0,
    )  # fmt: skip
    assert (params.max_tokens, params.top_k, params.top_p, params.temperature) == (3, -1, 0.5, 0)
    assert (params.stop, params.n, params.seed, request.priority, request.deadline) == (("x",), 2, 1, 1, None)


def test_calls_of_tools_reach_the_template_with_their_arguments_read() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    broken = {"id": "d", "type": "function", "function": {"name": "add", "arguments": "{"}}
    request = as_request(
        job(
            messages=[
                {"role": "assistant", "content": None, "tool_calls": [call, broken]},
                {"role": "tool", "tool_call_id": "c", "content": "3"},
            ]
        )
    )
    assert isinstance(request.prompt, Conversation)
    said, told = request.prompt.messages
    assert [each["function"]["arguments"] for each in said["tool_calls"]] == [{"a": 1}, "{"]
    assert (told["role"], told["tool_call_id"], told["content"]) == ("tool", "c", "3")


def test_arguments_nested_beyond_all_reading_stop_nobody(backend: EngineBackend) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[" * 100_000}}
    history = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "user", "content": "go on"}]
    *_, last = run(backend, job(messages=history, max_tokens=2))
    assert isinstance(last, Finished | Failed)


def test_a_request_that_breaks_the_translation_fails_alone(
    backend: EngineBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise TypeError("this can't be")

    with monkeypatch.context() as patched:
        patched.setattr("agon.backends.engine.as_request", broken)
        backend.submit(job("broken"))
    failed, *others = run(backend, job("good", max_tokens=2, ignore_eos=True))
    assert isinstance(failed, Failed)
    assert failed.key == "default/broken"
    assert isinstance(others[-1], Finished)


def test_the_card_says_what_is_served(backend: EngineBackend) -> None:
    card = backend.card
    assert (card.model, card.backend, card.context_length, card.dtype) == ("tiny", "engine", 256, "float32")
    assert card.parameters == sum(tensor.numel() for tensor in make_hf_model("llama").parameters())


def test_an_adapter_is_a_model_of_its_own(backend: EngineBackend, tmp_path: Path) -> None:
    backend.load_adapter("tuned", str(make_adapter(tmp_path / "one", 1)))
    backend.load_adapter("other", str(make_adapter(tmp_path / "two", 2)))
    card = backend.adapters["tuned"]
    assert (card.model, card.base, card.host, card.dtype) == ("tuned", "tiny", "tiny", "float32")
    assert len({card.digest, backend.card.digest, backend.adapters["other"].digest}) == 3
    asked = {"max_tokens": 6, "ignore_eos": True, "temperature": 0}
    said = {model: tokens(run(backend, job(model=model, **asked))) for model in ("tiny", "tuned", "other")}
    assert len(set(said.values())) == 3
    (failed,) = run(backend, job(model="unknown"))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ModelNotFound)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "chat_template.jinja", "config.json"])
def test_the_digest_changes_with_everything_that_decides_an_answer(folder: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = folder_digest(copy, "float32")
    assert before == folder_digest(folder, "float32")
    assert before != folder_digest(copy, "float64")
    (copy / "README.md").write_text("hello")
    assert before == folder_digest(copy, "float32")
    with (copy / name).open("ab") as file:
        file.write(b" ")
    assert before != folder_digest(copy, "float32")


def test_a_tenant_finds_its_own_prompts_in_the_cache_and_nobody_elses(backend: EngineBackend) -> None:
    def cached(**fields: Any) -> int:
        prompt = [{"role": "user", "content": "the quick brown fox jumps over the lazy dog"}]
        end = run(backend, job(messages=prompt, max_tokens=2, **fields))[-1]
        assert isinstance(end, Finished)
        return end.cached_tokens

    assert cached() == 0
    found = cached()
    assert found >= 16
    assert cached(tenant="another") == cached(cache_salt="mine") == 0
    assert cached(tenant="another") == cached(cache_salt="mine") == found
    assert backend.load().prefix_hits == 3 * found
