"""The engine's tokens are those of transformers' `generate`, whatever the batch and the chunks."""

from typing import Any

import torch

from agon.engine.sampling import SamplingParams
from contract.engine.tiny import make_engine, make_hf_model, make_hf_tokenizer, prompts_of, reference

LENGTHS = (1, 2, 3, 7, 16, 17, 40, 61)


def test_a_small_pool_preempts_and_still_tells_the_same() -> None:
    model = make_hf_model("llama")
    roomy = make_engine("llama", page_size=4)
    page = roomy.model.cache_shape.page_bytes(4)
    tight = make_engine("llama", page_size=4, kv_cache_bytes=31 * page, max_batch_tokens=16, max_sequences=8)
    prompts = prompts_of((9, 20, 14, 30, 5, 11))
    answers = tight.generate(prompts, SamplingParams(temperature=0, max_tokens=40))
    assert tight.scheduler.preemptions > 0
    assert [answer.token_ids for answer in answers] == [reference(model, prompt, 40) for prompt in prompts]
    assert tight.cache_used == 0


def test_fp32_differs_from_generate_only_where_the_margin_is_tiny_which_is_counted() -> None:
    model = make_hf_model("llama", torch.float32)
    engine = make_engine("llama", torch.float32, page_size=16, max_batch_tokens=64)
    prompts = prompts_of(LENGTHS * 3)
    answers = engine.generate(prompts, SamplingParams(temperature=0, max_tokens=32, ignore_eos=True))
    others = 0
    for prompt, answer in zip(prompts, answers, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + answer.token_ids])).logits[0, len(prompt) - 1 : -1]
        best = logits.max(-1).values
        ours = logits.gather(-1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        assert float((best - ours).max()) < 1e-4
        others += int((best > ours).sum())
    total = 32 * len(prompts)
    print(f"{others} of {total} tokens are another one than the reference's, all where its margin is below 1e-4")
    assert others <= total // 200


def test_an_end_token_stops_and_is_not_shown() -> None:
    engine = make_engine("llama")
    prompt = prompts_of((12,))[0]
    free = engine.generate([prompt], SamplingParams(temperature=0, max_tokens=20))[0]
    engine._intake.end_ids = frozenset({free.token_ids[9]})
    first = free.token_ids.index(free.token_ids[9])
    ended = engine.generate([prompt], SamplingParams(temperature=0, max_tokens=20))[0]
    assert (ended.token_ids, ended.finish_reason) == (free.token_ids[: first + 1], "stop")
    ignoring = engine.generate([prompt], SamplingParams(temperature=0, max_tokens=20, ignore_eos=True))[0]
    assert (ignoring.token_ids, ignoring.finish_reason) == (free.token_ids, "length")


def test_the_context_is_the_limit_when_nothing_else_is() -> None:
    engine = make_engine("llama", context_length=50)
    [answer] = engine.generate([prompts_of((30,))[0]], SamplingParams(temperature=0, ignore_eos=True))
    assert (len(answer.token_ids), answer.finish_reason) == (20, "length")


def test_several_choices_share_the_prompt_and_differ_by_their_number() -> None:
    engine = make_engine("llama", page_size=4, max_sequences=8)
    prompt = prompts_of((23,))[0]
    params = SamplingParams(temperature=1, seed=5, n=4, max_tokens=16, ignore_eos=True)
    [answer] = engine.generate([prompt], params)
    assert len({tuple(choice.token_ids) for choice in answer.choices}) == 4
    assert answer.usage == {"prompt_tokens": 23, "completion_tokens": 64, "total_tokens": 87, "cached_tokens": 0}
    alone = engine.generate([prompt], SamplingParams(temperature=1, seed=5, max_tokens=16, ignore_eos=True))[0]
    assert answer.choices[0].token_ids == alone.token_ids


def test_text_is_what_the_tokenizer_decodes() -> None:
    engine = make_engine("qwen2")
    for answer in engine.generate(prompts_of(LENGTHS), SamplingParams(temperature=1, seed=1, max_tokens=40)):
        assert answer.text == make_hf_tokenizer().decode(answer.token_ids, skip_special_tokens=True)


def test_logits_of_a_chunked_prompt_in_a_batch_equal_a_plain_forward_in_fp32() -> None:
    """Sampling hides small errors; the logits do not."""
    engine = make_engine("qwen3", torch.float32, page_size=4, max_batch_tokens=9, max_sequences=4)
    model = make_hf_model("qwen3", torch.float32)
    seen: list[tuple[list[int], torch.Tensor]] = []
    forward = engine.model.forward

    def spying(tokens: Any, positions: Any, keep: Any, paged: Any) -> tuple[torch.Tensor, torch.Tensor]:
        logits, finite = forward(tokens, positions, keep, paged)
        running = {s.order: s for s in engine.scheduler.running if s.missing}
        ends = list(running.values())
        for row, at in enumerate(keep.tolist()):
            matching = [s for s in ends if s.tokens[-1] == tokens[at] and len(s.tokens) - 1 == positions[at]]
            if len(matching) == 1:
                seen.append((list(matching[0].tokens), logits[row].clone()))
        return logits, finite

    engine.model.forward = spying  # type: ignore[method-assign]
    engine.generate(prompts_of((20, 3, 33, 11)), SamplingParams(temperature=0, max_tokens=12, ignore_eos=True))
    assert len(seen) > 30
    with torch.inference_mode():
        for tokens, logits in seen:
            assert torch.allclose(model(torch.tensor([tokens])).logits[0, -1], logits, atol=1e-4)
