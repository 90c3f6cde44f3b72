"""A request that is resumed anywhere goes on exactly: the same tokens, the same text, one end."""

import pytest
import torch

from agon.engine.events import Finished, Tokens
from agon.engine.params import Request
from agon.engine.sampling import SamplingParams
from contract.engine.tiny import make_engine, make_hf_model, make_hf_tokenizer, prompts_of, run, told_text, told_tokens

PROMPT = prompts_of((19,))[0]
STOPPED = SamplingParams(temperature=1, seed=3, max_tokens=24, stop=("qu", "\ufffd\ufffd", "th"), ignore_eos=True)
PLANS = {
    "greedy": SamplingParams(temperature=0, max_tokens=24, ignore_eos=True),
    "seeded": SamplingParams(temperature=0.9, top_k=40, top_p=0.95, seed=8, max_tokens=24, ignore_eos=True),
    "with stop strings": STOPPED,
}


@pytest.mark.parametrize("plan", PLANS)
def test_a_resumed_answer_goes_on_as_it_was_from_every_cut(plan: str) -> None:
    params = PLANS[plan]
    engine = make_engine(page_size=4)
    whole = run(engine, Request("r", PROMPT, params))["r"]
    deltas = [event for event in whole if isinstance(event, Tokens)]
    assert len(deltas) > 1
    for cut in range(len(deltas)):
        emitted = tuple(told_tokens(deltas[:cut]))
        resumed = run(engine, Request("r", PROMPT, params, emitted=(emitted,)))["r"]
        told = [event for event in resumed if isinstance(event, Tokens)]
        assert told[0].at == cut
        assert told_tokens(told) == told_tokens(deltas[cut:])
        assert told_text(deltas[:cut]) + told_text(told) == told_text(deltas)
        assert told[-1].finish_reason == deltas[-1].finish_reason
        end = resumed[-1]
        assert isinstance(end, Finished)
        assert (end.prompt_tokens, end.completion_tokens) == (len(PROMPT), len(deltas))
        assert end.cached_tokens >= len(PROMPT) // 4 * 4  # the whole answer has left its pages


def test_choices_that_had_ended_stay_ended_and_are_counted() -> None:
    engine = make_engine(page_size=4)
    params = SamplingParams(temperature=1, seed=4, n=3, max_tokens=10, ignore_eos=True)
    whole = run(engine, Request("r", PROMPT, params))["r"]
    tokens = [told_tokens(whole, choice) for choice in range(3)]
    emitted = (tuple(tokens[0][:4]), tuple(tokens[1]), ())
    resumed = run(engine, Request("r", PROMPT, params, emitted, (None, "length", None)))["r"]
    assert told_tokens(resumed, 0) == tokens[0][4:]
    assert told_tokens(resumed, 1) == []
    assert told_tokens(resumed, 2) == tokens[2]
    assert resumed[-1] == Finished("r", len(PROMPT), 30, len(PROMPT))


def test_emitted_tokens_that_end_the_choice_end_it_at_once() -> None:
    engine = make_engine(page_size=4)
    params = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)
    tokens = tuple(told_tokens(run(engine, Request("r", PROMPT, params))["r"]))
    steps = 0
    engine.submit(Request("r", PROMPT, params, emitted=(tokens,)))
    events = []
    while engine.busy:
        events += engine.step()
        steps += 1
    assert steps == 1
    assert [(e.at, e.token_ids, e.finish_reason) for e in events if isinstance(e, Tokens)] == [(6, (), "length")]
    assert events[-1] == Finished("r", len(PROMPT), 6)


def test_a_resumed_request_whose_choices_have_all_ended_only_finishes() -> None:
    engine = make_engine(page_size=4)
    events = run(engine, Request("r", PROMPT, SamplingParams(max_tokens=2), ((5, 6),), ("length",)))["r"]
    assert [type(event).__name__ for event in events] == ["Admitted", "Finished"]


def test_in_bfloat16_every_sent_token_is_kept_and_the_rest_goes_on_behind_them() -> None:
    params = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True)
    first = run(make_engine(dtype=torch.bfloat16, page_size=4), Request("r", PROMPT, params))["r"]
    whole = [event for event in first if isinstance(event, Tokens)]
    model = make_hf_model("llama", torch.bfloat16)
    for cut in (1, 7, 19):
        kept = told_tokens(whole[:cut])
        events = run(make_engine(dtype=torch.bfloat16, page_size=4), Request("r", PROMPT, params, (tuple(kept),)))["r"]
        told = [event for event in events if isinstance(event, Tokens)]
        assert [event.at for event in told] == list(range(cut, 20))
        end = events[-1]
        assert isinstance(end, Finished)
        assert end.completion_tokens == 20
        # What was sent, and what is sent now, are one answer: its text is that of its tokens, ...
        tokens = kept + told_tokens(told)
        text = make_hf_tokenizer().decode(tokens, skip_special_tokens=True)
        assert told_text(whole[:cut]) + told_text(told) == text
        # ... and each new token is the best one behind those before it, as far as 8 bits tell.
        with torch.inference_mode():
            logits = model(torch.tensor([PROMPT + tokens])).logits[0, len(PROMPT) - 1 : -1].float()[cut:]
        ours = logits.gather(-1, torch.tensor(tokens[cut:])[:, None])[:, 0]
        assert float((logits.max(-1).values - ours).max()) <= float(logits.abs().max()) * 2**-6
