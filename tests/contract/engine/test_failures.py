"""What goes wrong with one request is that request's alone."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from agon.engine.engine import Engine
from agon.engine.events import Admitted, Event, Failed, Finished, Tokens
from agon.engine.params import Limits, Request
from agon.engine.sampling import SamplingParams
from agon.errors import AgonError, Cancelled, ContextTooLong, EngineFailed, Expired, InvalidRequest, SetupError
from contract.engine.tiny import drain, make_engine, prompts_of, run, told_tokens

GREEDY = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
GOOD = prompts_of((9, 21, 5))
POISON = 301


def poisoned(**limits: Any) -> Engine:
    """An engine whose model computes NaN for whoever says the token POISON."""
    engine = make_engine(page_size=4, **limits)
    with torch.no_grad():
        engine.model._model.get_input_embeddings().weight[POISON] = float("nan")
    return engine


def error_of(events: list[Event]) -> Exception:
    [end] = [event for event in events if isinstance(event, (Finished, Failed))]
    assert isinstance(end, Failed)
    return end.error


def good_answers(engine: Engine) -> list[list[int]]:
    told = run(engine, *(Request(f"g{i}", prompt, GREEDY) for i, prompt in enumerate(GOOD)))
    return [told_tokens(told[f"g{i}"]) for i in range(len(GOOD))]


def test_a_nan_fails_its_request_and_leaves_nothing_behind_in_the_pages() -> None:
    expected = good_answers(make_engine(page_size=4))
    engine = poisoned(max_batch_tokens=16, max_sequences=4)
    bad = [Request("bad", [5, 6, POISON, 7] * 8, GREEDY)]
    good = [Request(f"g{i}", prompt, GREEDY) for i, prompt in enumerate(GOOD)]
    told = run(engine, *bad, *good)
    assert isinstance(error_of(told["bad"]), EngineFailed)
    assert [told_tokens(told[request.key]) for request in good] == expected
    assert good_answers(engine) == expected


def test_a_nan_in_the_first_chunk_of_a_prompt_fails_it_there_and_is_never_found_by_others() -> None:
    engine = poisoned(max_batch_tokens=16, max_sequences=4)
    expected = good_answers(make_engine(page_size=4))
    engine.submit(Request("bad", [*GOOD[1][:8], POISON, *GOOD[1]], GREEDY))
    admitted, failed = engine.step()
    assert isinstance(admitted, Admitted)
    assert isinstance(error_of([failed]), EngineFailed)
    assert not engine.busy
    assert good_answers(engine) == expected
    assert isinstance(error_of(run(engine, Request("again", [POISON] * 60, GREEDY))["again"]), EngineFailed)
    assert good_answers(engine) == expected


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        ([], InvalidRequest, "not empty"),
        ([3, 320], InvalidRequest, "320 is not in the model's vocabulary of 320"),
        ([3, -1], InvalidRequest, "-1"),
        ([3] * 256, ContextTooLong, "256 tokens"),
        ("word " * 20000, ContextTooLong, "cannot fit"),
        ([3, "a"], InvalidRequest, "token ids or chat messages"),
        ([{"role": "tyrant"}], InvalidRequest, "needs `role` and `content`"),
    ],
)
def test_a_prompt_that_cannot_be_served_is_refused_with_the_reason(prompt: Any, error: type, says: str) -> None:
    events = run(make_engine(), Request("r", prompt, GREEDY))["r"]
    assert len(events) == 1
    assert isinstance(error_of(events), error)
    assert says in str(error_of(events))


def test_emitted_tokens_out_of_range_fail_alone() -> None:
    told = run(make_engine(), Request("bad", GOOD[0], GREEDY, emitted=((999,),)), Request("good", GOOD[1], GREEDY))
    assert isinstance(error_of(told["bad"]), InvalidRequest)
    assert isinstance(told["good"][-1], Finished)


def test_a_tokenizer_that_breaks_on_a_token_fails_that_request(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    expected = told_tokens(run(engine, Request("good", GOOD[0], GREEDY))["good"])
    other = told_tokens(run(engine, Request("other", GOOD[1], GREEDY))["other"])
    breaking = next(token for token in other if token not in expected)
    intact = engine.tokenizer.token_bytes

    def token_bytes(token: int) -> bytes:
        if token == breaking:
            raise RuntimeError("broken merge table")
        return intact(token)

    monkeypatch.setattr(engine.tokenizer, "token_bytes", token_bytes)
    told = run(engine, Request("good", GOOD[0], GREEDY), Request("bad", GOOD[1], GREEDY))
    assert told_tokens(told["good"]) == expected
    assert isinstance(error_of(told["bad"]), EngineFailed)


def test_an_exception_in_a_step_fails_its_requests_and_the_engine_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(page_size=4, max_sequences=2, max_batch_tokens=64)
    expected = good_answers(engine)
    forward = engine.model.forward

    def failing(*args: Any) -> torch.Tensor:
        monkeypatch.setattr(engine.model, "forward", forward)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine.model, "forward", failing)
    told = run(engine, *(Request(f"g{i}", prompt, GREEDY) for i, prompt in enumerate(GOOD)))
    assert [type(told[f"g{i}"][-1]) for i in range(3)] == [Failed, Failed, Finished]
    assert told_tokens(told["g2"]) == expected[2]
    assert good_answers(engine) == expected


def test_a_deadline_ends_a_request_while_it_waits_and_while_it_runs() -> None:
    engine = make_engine(max_sequences=1, max_batch_tokens=8)
    long = SamplingParams(temperature=0, ignore_eos=True)
    engine.submit(Request("running", GOOD[0], long, deadline=time.time() + 0.05))
    engine.submit(Request("waiting", GOOD[1], long, deadline=time.time() + 0.02))
    told = drain(engine)
    for key in ("running", "waiting"):
        assert isinstance(error_of(told[key]), Expired)
    assert engine.cache_used == 0


def test_a_second_request_under_the_same_key_ends_the_first() -> None:
    engine = make_engine()
    engine.submit(Request("r", GOOD[0], GREEDY))
    engine.step()
    events = run(engine, Request("r", GOOD[1], GREEDY))["r"]
    assert isinstance(events[0], Failed)
    assert isinstance(events[0].error, Cancelled)
    assert told_tokens(events[1:]) == told_tokens(run(engine, Request("s", GOOD[1], GREEDY))["s"])


def test_submitting_and_cancelling_from_other_threads_loses_nothing() -> None:
    engine = make_engine(max_sequences=4, max_batch_tokens=32)
    ends: dict[str, int] = {}

    def submit(thread: int) -> None:
        for i in range(20):
            engine.submit(Request(f"{thread}-{i}", GOOD[i % 3], SamplingParams(temperature=0, max_tokens=3)))
            if i % 5 == 4:
                engine.cancel(f"{thread}-{i}")

    threads = [threading.Thread(target=submit, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    while engine.busy or any(thread.is_alive() for thread in threads):
        for event in engine.step():
            if isinstance(event, (Finished, Failed)):
                ends[event.key] = ends.get(event.key, 0) + 1
    assert ends == {f"{thread}-{i}": 1 for thread in range(4) for i in range(20)}


def test_requests_are_never_counted_below_none_while_another_thread_steps() -> None:
    engine = make_engine()
    engine.submit(Request("r", GOOD[0], GREEDY))
    engine.step()

    class Ending(list[Any]):
        """The running sequences as they were, of which the last one ends while they are looked at."""

        def __iter__(self) -> Iterator[Any]:
            seen = list(list.__iter__(self))
            engine.scheduler.running = [*seen]
            engine.cancel("r")
            engine.step()
            return iter(seen)

    engine.scheduler.running = Ending(engine.scheduler.running)
    assert min(engine.counts) >= 0
    assert engine.counts == (0, 0)


def test_generate_raises_what_was_wrong_with_a_prompt() -> None:
    with pytest.raises(ContextTooLong):
        make_engine().generate(["fine", [3] * 300])


def test_a_request_is_admitted_before_its_first_token() -> None:
    events = run(make_engine(), Request("r", GOOD[0], GREEDY))["r"]
    assert [type(event).__name__ for event in events] == ["Admitted", *["Tokens"] * 12, "Finished"]
    assert [event.at for event in events if isinstance(event, Tokens)] == list(range(12))


def test_limits_that_cannot_work_are_refused() -> None:
    with pytest.raises(SetupError, match="max_batch_tokens"):
        Limits(max_batch_tokens=8, max_sequences=9)
    with pytest.raises(SetupError, match="kv_cache_bytes"):
        make_engine(kv_cache_bytes=1000)


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", -1), ("top_p", 0), ("top_p", 1.5), ("top_k", -2), ("max_tokens", -1), ("n", 0), ("stop", ("",))],
)
def test_a_parameter_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(AgonError) as caught:
        SamplingParams(**{field: value})
    assert caught.value.param == field


def test_generate_that_is_left_early_leaves_nothing_in_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    step = engine.step

    def interrupted() -> list[Event]:
        monkeypatch.setattr(engine, "step", step)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.generate(prompts_of([5] * 100), SamplingParams(max_tokens=2), progress=False)  # more than a step reads
    assert not engine.busy
    [answer] = engine.generate(GOOD[:1], GREEDY, progress=False)
    assert answer.token_ids == good_answers(make_engine())[0]
