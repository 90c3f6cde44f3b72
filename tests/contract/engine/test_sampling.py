"""What a request may ask of its sampling and its output, against a plain loop over the model's own logits."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch

from agon.engine import Engine, SamplingParams
from agon.engine.events import Failed, Finished, Scored, Tokens
from agon.engine.params import Request
from agon.errors import InvalidRequest
from contract.engine.tiny import (
    drain,
    make_engine,
    make_hf_model,
    make_hf_tokenizer,
    prompts_of,
    run,
    told_text,
    told_tokens,
)

PROMPT = prompts_of([23])[0]
CLOSE = 1e-5  # of numbers of 64 bits: transformers' own norms round to 32
Change = Callable[[torch.Tensor, list[int]], torch.Tensor]


@cache
def engine() -> Engine:
    return make_engine(max_sequences=8, max_batch_tokens=16)


@cache
def model() -> Any:
    return make_hf_model("llama")


@torch.inference_mode()
def logits_behind(tokens: Sequence[int]) -> torch.Tensor:
    """For each position, what the model says of the token behind it."""
    whole: torch.Tensor = model()(torch.tensor([list(tokens)])).logits[0]
    return whole


def greedy(count: int, change: Change) -> list[int]:
    """Token by token: the best of the changed logits."""
    answer: list[int] = []
    for _ in range(count):
        answer.append(int(change(logits_behind([*PROMPT, *answer])[-1].clone(), answer).argmax()))
    return answer


def penalised(logits: torch.Tensor, answer: list[int]) -> torch.Tensor:
    for token in {*PROMPT, *answer}:
        logits[token] = logits[token] / 1.3 if logits[token] > 0 else logits[token] * 1.3
    for token in set(answer):
        logits[token] -= 0.7 * answer.count(token) + 0.4
    return logits


def biased(logits: torch.Tensor, answer: list[int]) -> torch.Tensor:
    logits[40] += 7.5
    logits[int(logits_behind(PROMPT)[-1].argmax())] = -100
    return logits


def unended(logits: torch.Tensor, answer: list[int]) -> torch.Tensor:
    if len(answer) < 9:
        logits[2] = -math.inf
    return logits


ASKED: list[tuple[dict[str, Any], Change]] = [
    ({"repetition_penalty": 1.3, "frequency_penalty": 0.7, "presence_penalty": 0.4}, penalised),
    ({"logit_bias": {40: 7.5, int(logits_behind(PROMPT)[-1].argmax()): -100}}, biased),
]


@pytest.mark.parametrize(("fields", "change"), ASKED, ids=["penalties", "bias"])
def test_a_choice_is_the_one_that_a_plain_loop_makes(fields: dict[str, Any], change: Change) -> None:
    params = SamplingParams(temperature=0, max_tokens=14, ignore_eos=True, **fields)
    assert engine().generate([PROMPT], params)[0].token_ids == greedy(14, change)


def test_rows_of_every_kind_draw_in_one_batch_what_they_draw_alone() -> None:
    each = [
        SamplingParams(seed=1, max_tokens=10, repetition_penalty=1.2),
        SamplingParams(seed=2, max_tokens=10, min_p=0.1, logprobs=3),
        SamplingParams(seed=3, max_tokens=10, typical_p=0.5, logit_bias={7: 4.0}),
        SamplingParams(temperature=0, max_tokens=10, prompt_logprobs=2),
        SamplingParams(seed=5, max_tokens=10, min_tokens=10, frequency_penalty=1.0),
        SamplingParams(seed=6, max_tokens=10),
        SamplingParams(seed=7, max_tokens=10, n=3, best_of=4),
    ]
    prompts = prompts_of([5, 40, 17, 33, 8, 21, 12])
    together = engine().generate(prompts, each)
    # Logits move in their last digits with the batch.
    alone = [engine().generate([prompt], params)[0] for prompt, params in zip(prompts, each, strict=True)]
    assert [a.token_ids for a in together] == [a.token_ids for a in alone]
    assert [choice.text for choice in together[6].choices] == [choice.text for choice in alone[6].choices]
    for a, b in zip(together, alone, strict=True):
        told, expected = a.choices[0].logprobs or [], b.choices[0].logprobs or []
        assert [item.logprob for item in told] == pytest.approx([item.logprob for item in expected], abs=1e-9)


def test_an_answer_ends_with_a_stop_token_id_which_is_not_shown() -> None:
    free = engine().generate([PROMPT], SamplingParams(temperature=0, max_tokens=20, ignore_eos=True))[0]
    end = next(token for token in free.token_ids[3:] if token not in free.token_ids[:3])
    at = free.token_ids.index(end)
    params = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True, stop_token_ids=(end,))
    told = engine().generate([PROMPT], params)[0]
    assert (told.token_ids, told.finish_reason) == (free.token_ids[: at + 1], "stop")
    data = b"".join(engine().tokenizer.token_bytes(token) for token in free.token_ids[:at])
    assert told.text == data.decode("utf-8", "replace")


def test_min_tokens_holds_back_every_end() -> None:
    always = {"logit_bias": {2: 100.0}, "temperature": 0, "max_tokens": 20}
    assert engine().generate([PROMPT], SamplingParams(**always))[0].token_ids == [2]
    told = engine().generate([PROMPT], SamplingParams(**always, min_tokens=9))[0]
    assert told.token_ids == [*greedy(9, lambda logits, answer: unended(logits, answer)), 2]
    early = told.text[1:3]
    stopped = engine().generate([PROMPT], SamplingParams(**always, min_tokens=9, stop=(early,)))[0]
    assert len(stopped.token_ids) >= 9
    assert stopped.text.startswith(told.text[:3])


def test_log_probabilities_are_the_models_own() -> None:
    params = SamplingParams(seed=3, temperature=1.7, presence_penalty=1.5, max_tokens=8, logprobs=4, ignore_eos=True)
    told = engine().generate([PROMPT], params)[0]
    logs = logits_behind([*PROMPT, *told.token_ids]).log_softmax(-1)
    items = told.choices[0].logprobs
    assert items is not None
    assert len(items) == len(told.token_ids)
    for index, (token, item) in enumerate(zip(told.token_ids, items, strict=True)):
        row = logs[len(PROMPT) - 1 + index]
        assert item.logprob == pytest.approx(row[token].item(), abs=CLOSE)
        assert item.data == engine().tokenizer.token_bytes(token)
        best, ids = row.topk(4)
        assert [top.logprob for top in item.top] == pytest.approx(best.tolist(), abs=CLOSE)
        assert [top.token for top in item.top] == [engine().tokenizer.label(i)[0] for i in ids.tolist()]


@pytest.mark.parametrize("length", [1, 2, 16, 17, 50])
def test_prompt_log_probabilities_are_the_models_own_in_any_chunks(length: int) -> None:
    prompt = prompts_of([length], seed=length)[0]
    params = SamplingParams(temperature=0, max_tokens=2, prompt_logprobs=2, n=2)
    for _ in range(2):  # the second time the prefix cache has the prompt
        told = engine().generate([prompt], params)[0]
        assert told.prompt_logprobs is not None
        assert [item.data for item in told.prompt_logprobs] == [engine().tokenizer.token_bytes(t) for t in prompt]
        assert told.prompt_logprobs[0].logprob is None
        logs = logits_behind(prompt).log_softmax(-1)
        expected = [logs[at, token].item() for at, token in enumerate(prompt[1:])]
        assert [item.logprob for item in told.prompt_logprobs[1:]] == pytest.approx(expected, abs=CLOSE)
        assert all(len(item.top) == 2 for item in told.prompt_logprobs[1:])


def test_prompt_log_probabilities_come_once_and_first_also_after_a_preemption() -> None:
    small = make_engine(max_sequences=4, max_batch_tokens=16, page_size=4, kv_cache_bytes=40_000)
    prompts = prompts_of([20, 20, 20], seed=5)
    params = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True, prompt_logprobs=0)
    told = run(small, *(Request(str(i), prompt, params) for i, prompt in enumerate(prompts)))
    assert small.scheduler.preemptions > 0
    for i, prompt in enumerate(prompts):
        kinds = [type(event) for event in told[str(i)]]
        assert kinds.count(Scored) == 1
        assert kinds.index(Scored) < kinds.index(Tokens)
        scored = next(event for event in told[str(i)] if isinstance(event, Scored))
        assert len(scored.logprobs) == len(prompt)


def test_an_echo_shows_the_prompt_once_in_front_of_each_choice() -> None:
    params = SamplingParams(seed=1, n=2, max_tokens=4, echo=True)
    plain = engine().generate(["größer 🌱"], SamplingParams(seed=1, n=2, max_tokens=4))[0]
    told = engine().generate(["größer 🌱"], params)[0]
    assert [c.text for c in told.choices] == ["größer 🌱" + c.text for c in plain.choices]
    ids = make_hf_tokenizer().encode("größer 🌱")
    assert [c.text for c in engine().generate([ids], params)[0].choices] == [c.text for c in told.choices]
    events = run(engine(), Request("r", "größer 🌱", params, emitted=(tuple(plain.choices[0].token_ids[:2]),)))["r"]
    assert "größer" not in told_text(events, 0), "an earlier attempt has shown it"
    assert told_text(events, 1) == told.choices[1].text


@pytest.mark.parametrize("scored", [None, 1])
def test_an_answer_of_no_tokens_tells_and_scores_the_prompt(scored: int | None) -> None:
    prompt = "größer 🌱"
    params = SamplingParams(n=3, best_of=4, max_tokens=0, echo=True, prompt_logprobs=scored)
    started = engine()
    events = run(started, Request("r", prompt, params))["r"]
    told = [event for event in events if isinstance(event, Tokens)]
    assert [(each.choice, each.token_ids, each.text, each.finish_reason) for each in told] == [
        (choice, (), prompt, "length") for choice in range(3)
    ]
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.prompt_tokens, end.completion_tokens) == (len(make_hf_tokenizer().encode(prompt)), 0)
    assert started.cache_used == 0
    scores = [event.logprobs for event in events if isinstance(event, Scored)]
    longer = run(engine(), Request("r", prompt, SamplingParams(max_tokens=1, prompt_logprobs=scored)))["r"]
    assert scores == [event.logprobs for event in longer if isinstance(event, Scored)]
    assert len(scores) == (scored is not None)


def test_best_of_tells_the_most_probable_choices_and_counts_all() -> None:
    def asked(**fields: Any) -> SamplingParams:
        return SamplingParams(seed=4, max_tokens=6, ignore_eos=True, **fields)

    every = engine().generate([PROMPT], asked(n=5, logprobs=0))[0]
    ranked = sorted(every.choices, key=lambda c: -sum(item.logprob or 0.0 for item in c.logprobs or ()))
    best = engine().generate([PROMPT], asked(n=2, best_of=5))[0]
    assert [c.token_ids for c in best.choices] == [c.token_ids for c in ranked[:2]]
    assert [c.logprobs for c in best.choices] == [None, None]
    assert best.usage["completion_tokens"] == 30


def test_a_resumed_best_of_tells_only_what_was_not_told() -> None:
    params = SamplingParams(seed=4, max_tokens=6, ignore_eos=True, n=2, best_of=4)
    whole = run(engine(), Request("r", PROMPT, params))["r"]
    first = tuple(told_tokens(whole, 0))
    rest = run(engine(), Request("r", PROMPT, params, emitted=(first, ()), ended=("length", None)))["r"]
    assert told_tokens(rest, 0) == []
    assert told_tokens(rest, 1) == told_tokens(whole, 1)
    assert isinstance(rest[-1], Finished)


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"logit_bias": {320: 1.0}}, "logit_bias"), ({"stop_token_ids": (5, 999)}, "stop_token_ids")],
)
def test_a_token_outside_the_vocabulary_is_refused_by_its_field(fields: dict[str, Any], param: str) -> None:
    engine().submit(Request("r", PROMPT, SamplingParams(**fields)))
    (failed,) = drain(engine())["r"]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, InvalidRequest)
    assert failed.error.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"min_p": 1.5}, "min_p"), ({"typical_p": 0}, "typical_p"), ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"), ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"logit_bias": {1: 101}}, "logit_bias"), ({"min_tokens": 5, "max_tokens": 4}, "min_tokens"),
        ({"n": 3, "best_of": 2}, "best_of"), ({"logprobs": 21}, "logprobs"),
        ({"prompt_logprobs": -1}, "prompt_logprobs"),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        SamplingParams(**fields)
    assert caught.value.param == param
