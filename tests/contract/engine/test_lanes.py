"""Lanes change where keys and values lie, and no token: neither as sequences come and go, nor over many steps."""

import pytest
import torch

from agon.engine.engine import Engine
from agon.engine.params import Request
from agon.engine.sampling import SamplingParams
from contract.engine.tiny import drain, make_engine, make_hf_model, prompts_of, reference, run, told_tokens

LENGTHS = (1, 4, 23, 9, 40, 2, 17, 30, 5, 12, 3, 26, 8, 15, 33, 6, 20, 11)
COUNTS = (70, 3, 41, 12, 20, 55, 1, 36, 8, 29, 66, 17, 2, 48, 24, 5, 33, 60)
ANSWERS = list(zip(prompts_of(LENGTHS), COUNTS, strict=True))


def asked(key: int, prompt: list[int], count: int) -> Request:
    return Request(str(key), prompt, SamplingParams(temperature=0, max_tokens=count))


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_tokens_equal_generate_while_sequences_come_and_go(family: str) -> None:
    model = make_hf_model(family)
    engine = make_engine(family, page_size=4, max_sequences=17, max_batch_tokens=24)
    told: dict[str, list[int]] = {}
    for key, (prompt, count) in enumerate(ANSWERS):
        engine.submit(asked(key, prompt, count))
        for events in (engine.step(), engine.step()):
            for event in events:
                told.setdefault(event.key, []).extend(told_tokens([event]))
    for late, events in drain(engine).items():
        told.setdefault(late, []).extend(told_tokens(events))
    expected = [reference(model, prompt, count) for prompt, count in ANSWERS]
    assert [told[str(key)] for key in range(len(ANSWERS))] == expected


def test_half_floats_are_attended_in_whole_ones() -> None:
    model = make_hf_model("llama", torch.bfloat16)
    engine = make_engine("llama", torch.bfloat16, page_size=4)
    prompt = prompts_of((20,))[0]
    answer = told_tokens(run(engine, asked(0, prompt, 12))["0"])
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()
    best = logits.max(-1).values
    assert (best - logits.gather(-1, torch.tensor(answer)[:, None])[:, 0]).max() < 0.05


def _pages_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each time that pages are copied: how many."""
    counts: list[int] = []
    read = engine._runner.cache.read

    def counted(layer: int, blocks: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        counts.append(blocks.numel())
        return read(layer, blocks, rows)

    monkeypatch.setattr(engine._runner.cache, "read", counted)
    return counts


def test_sequences_that_go_on_are_not_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine("llama", page_size=4)
    reads = _pages_read(engine, monkeypatch)
    layers = engine.model.config.num_hidden_layers
    run(engine, *(asked(key, prompt, 30) for key, prompt in enumerate(prompts_of((3, 9, 7, 5)))))
    assert len(reads) == layers  # all four in one lane, when they have their first tokens


def test_lanes_hold_no_more_than_the_cache_and_nothing_at_rest() -> None:
    model = make_hf_model("llama")
    roomy = make_engine("llama", page_size=4)
    page = roomy.model.cache_shape.page_bytes(4)
    engine = make_engine("llama", page_size=4, kv_cache_bytes=33 * page, max_batch_tokens=32, max_sequences=8)
    lanes, cache = engine._runner._lanes, engine._runner.cache
    prompts = prompts_of((9, 20, 14, 30, 5, 11))
    answers: dict[str, list[int]] = {}
    for key, prompt in enumerate(prompts):
        engine.submit(asked(key, prompt, 40))
    held = [0]
    while engine.busy:
        for event in engine.step():
            answers.setdefault(event.key, []).extend(told_tokens([event]))
        held.append(sum(lane.tokens for lane in lanes._lanes))
    assert 0 < max(held) <= cache.tokens
    assert held[-1] == 0
    assert [answers[str(key)] for key in range(6)] == [reference(model, prompt, 40) for prompt in prompts]
