"""Every family that is served gives the tokens of transformers' `generate`, whatever the batch and the chunks."""

from functools import cache

import pytest
import torch
from transformers import AutoModelForCausalLM

from agon.engine.model import SERVED
from agon.engine.sampling import SamplingParams
from contract.engine.tiny import FAMILIES, make_engine, make_hf_model, prompts_of, reference

PROMPTS = prompts_of((1, 5, 23, 40))
COUNTS = (20, 13, 17, 24)
GREEDY = [SamplingParams(temperature=0, max_tokens=count) for count in COUNTS]


@cache
def generated(family: str) -> list[list[int]]:
    model = make_hf_model(family, torch.float32)
    return [reference(model, prompt, count) for prompt, count in zip(PROMPTS, COUNTS, strict=True)]


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_equal_generate_one_by_one(family: str) -> None:
    engine = make_engine(family, torch.float32, page_size=4)
    answers = [engine.generate([prompt], params)[0] for prompt, params in zip(PROMPTS, GREEDY, strict=True)]
    assert [answer.token_ids for answer in answers] == generated(family)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_equal_generate_in_a_mixed_batch_with_chunked_prompts(family: str) -> None:
    engine = make_engine(family, torch.float32, page_size=4, max_batch_tokens=13, max_sequences=3)
    assert [answer.token_ids for answer in engine.generate(PROMPTS, GREEDY)] == generated(family)


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text"])
def test_windows_and_caps_decide_the_tokens(family: str) -> None:
    """Were they ignored, the tests above would notice: without them the model says something else."""
    model = make_hf_model(family, torch.float32)
    config = type(model.config)(**{**model.config.to_dict(), "sliding_window": 256, "attn_logit_softcapping": None})
    free = AutoModelForCausalLM.from_config(config).eval()
    free.load_state_dict(model.state_dict())
    assert [reference(free, prompt, count) for prompt, count in zip(PROMPTS, COUNTS, strict=True)] != generated(family)


def test_every_family_that_is_served_is_tested() -> None:
    assert {family.split()[0] for family in FAMILIES} == SERVED
