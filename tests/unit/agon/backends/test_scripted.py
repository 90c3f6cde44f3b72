"""The scripted backend: the same request always gets the same answer, cut, resumed or not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.backends import Admitted, Event, Failed, Finished, Job, Scored, Tokens
from agon.backends.script import Options, token_id
from agon.backends.scripted import ScriptedBackend
from agon.engine.events import Alternative, TokenLogprob
from agon.errors import Cancelled, ContextTooLong, EngineFailed, Expired, UnsupportedParameter
from agon.messages import GenerationRequest


def job(said: str = "Tell me about Redis", emitted: tuple[tuple[int, ...], ...] = (), **fields: Any) -> Job:
    request = {
        "request_id": "r1", "model": "m", "seed": 1, "messages": [{"role": "user", "content": said}], **fields
    }  # fmt: skip
    return Job(GenerationRequest.decode(json.dumps(request)), emitted)


def run(options: Options, *jobs: Job) -> list[Event]:
    backend = ScriptedBackend("m", options)
    for each in jobs:
        backend.submit(each)
    events: list[Event] = []
    while backend.idle_for() is not None:
        events += backend.step()
    return events


def text(events: list[Event], choice: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, Tokens) and event.choice == choice)


def last(events: list[Event]) -> Event:
    assert all(not isinstance(event, (Finished, Failed)) for event in events[:-1])
    return events[-1]


def test_a_given_text_is_told_word_by_word() -> None:
    events = run(Options(text="Hello, dear friend."), job())
    assert events == [
        Admitted("default/r1", 4),
        Tokens("default/r1", 0, 0, (token_id("Hello, "),), "Hello, "),
        Tokens("default/r1", 0, 1, (token_id("dear "),), "dear "),
        Tokens("default/r1", 0, 2, (token_id("friend."),), "friend.", "stop"),
        Finished("default/r1", 4, 3),
    ]


def test_echo_tells_what_was_said_and_the_default_answers_it() -> None:
    assert text(run(Options(mode="echo"), job("a  b\nc"))) == "a  b\nc"
    assert "Redis" in text(run(Options(), job()))
    assert text(run(Options(), job())) != text(run(Options(), job("Something else")))


def test_random_words_depend_on_seed_and_choice_only() -> None:
    one = run(Options(mode="random"), job(seed=5, n=2))
    assert one == run(Options(mode="random"), job(seed=5, n=2))
    assert text(one, 0) != text(one, 1)
    assert text(one, 0) != text(run(Options(mode="random"), job(seed=6)))


def test_max_tokens_cuts_and_ignore_eos_goes_on() -> None:
    events = run(Options(text="one two three"), job(max_tokens=2))
    assert (text(events), events[-2].finish_reason) == ("one two ", "length")  # type: ignore[union-attr]
    events = run(Options(text="one two three "), job(max_tokens=5, ignore_eos=True))
    assert text(events) == "one two three one two "


def test_a_number_of_tokens_is_told_exactly() -> None:
    events = run(Options(tokens=400), job())
    assert [event.at for event in events if isinstance(event, Tokens)] == list(range(400))
    assert last(events) == Finished("default/r1", 4, 400)


@given(st.lists(st.sampled_from(["ab", "b", "a b", " ", "cab", "abc"]), max_size=3), st.integers(1, 30))
def test_a_stop_string_is_never_shown_and_nothing_before_it_is_lost(stop: list[str], per_step: int) -> None:
    script = "abba ab cab  abc bab a b end"
    ends = [(at + len(each), at) for each in stop if (at := script.find(each)) >= 0]
    expected = script[: min(ends)[1]] if ends else script
    events = run(Options(text=script, per_step=per_step), job(stop=stop))
    assert text(events) == expected
    assert isinstance(last(events), Finished)


@pytest.mark.parametrize("options", [Options(mode="random", per_step=3), Options(), Options(tokens=9)])
def test_a_resumed_answer_goes_on_exactly(options: Options) -> None:
    whole = run(options, job(n=2, stop=["dog"]))
    tokens = [[t for e in whole if isinstance(e, Tokens) and e.choice == c for t in e.token_ids] for c in range(2)]
    alone = run(options.model_copy(update={"per_step": 1}), job(n=2, stop=["dog"]))
    for cut in range(len(tokens[0]) + 1):
        resumed = run(options, job(emitted=(tuple(tokens[0][:cut]), ()), n=2, stop=["dog"]))
        shown = "".join(e.text for e in alone if isinstance(e, Tokens) and e.choice == 0 and e.at < cut)
        assert shown + text(resumed) == text(whole)
        assert text(resumed, 1) == text(whole, 1)
        assert last(resumed) == last(whole)


def test_it_fails_where_it_is_told_to() -> None:
    events = run(Options(tokens=10, fail_at=3), job())
    assert sum(isinstance(event, Tokens) for event in events) == 3
    end = last(events)
    assert isinstance(end, Failed)
    assert isinstance(end.error, EngineFailed)
    assert end.completion_tokens == 3


def test_what_cannot_fit_and_what_is_late_is_refused() -> None:
    for options, each, error in (
        (Options(context=3), job(), ContextTooLong),
        (Options(delay=60), job(deadline="2020-01-01T00:00:00Z"), Expired),
    ):
        end = last(run(options, each))
        assert isinstance(end, Failed)
        assert isinstance(end.error, error)


def test_a_cancelled_job_ends_once_wherever_it_is() -> None:
    backend = ScriptedBackend("m", Options(tokens=10, capacity=1))
    backend.submit(job(request_id="runs"))
    backend.submit(job(request_id="waits"))
    backend.step()
    assert (backend.load().running, backend.load().waiting, backend.load().capacity) == (1, 1, 1)
    for key in ("default/runs", "default/waits", "default/unknown"):
        backend.cancel(key)
    events = list(backend.step())
    assert [(event.key, type(event)) for event in events] == [("default/runs", Failed), ("default/waits", Failed)]
    assert all(isinstance(event.error, Cancelled) for event in events if isinstance(event, Failed))
    assert backend.idle_for() is None


def test_a_delay_is_told_and_not_slept() -> None:
    backend = ScriptedBackend("m", Options(tokens=3, first_delay=30, delay=20))
    assert backend.idle_for() is None
    backend.submit(job())
    assert backend.idle_for() == 0
    backend.step()
    idle = backend.idle_for()
    assert idle is not None
    assert 29 < idle <= 30
    assert backend.step() == []


def test_the_digest_follows_the_script() -> None:
    assert ScriptedBackend("m", Options(text="a")).card.digest == ScriptedBackend("m", Options(text="a")).card.digest
    assert ScriptedBackend("m", Options(text="a")).card.digest != ScriptedBackend("m", Options(text="b")).card.digest


def test_a_script_is_certain_of_its_tokens() -> None:
    told = run(Options(text="Hello, you"), job(logprobs=True, top_logprobs=3))
    assert [event.logprobs for event in told if isinstance(event, Tokens)] == [
        (TokenLogprob("Hello, ", 0.0, b"Hello, ", (Alternative("Hello, ", 0.0, b"Hello, "),)),),
        (TokenLogprob("you", 0.0, b"you", (Alternative("you", 0.0, b"you"),)),),
    ]


def test_a_prompt_is_told_and_scored_with_nothing_generated() -> None:
    asked: Any = {"kind": "completion", "prompt": "Hello, you", "messages": None, "max_tokens": 0}
    told = run(Options(text="never said"), job(**asked, echo=True, prompt_logprobs=0, logprobs=True))
    scores = TokenLogprob("Hello, ", None, b"Hello, "), TokenLogprob("you", 0.0, b"you")
    assert told == [
        Admitted("default/r1", 2),
        Scored("default/r1", scores),
        Tokens("default/r1", 0, 0, (), "Hello, you", "length", ()),
        Finished("default/r1", 2, 0),
    ]
    told = run(Options(text="and me"), job(**asked | {"max_tokens": 1}, echo=True))
    assert text(told) == "Hello, youand "


def test_what_a_script_cannot_promise_is_refused_by_name() -> None:
    failed = last(run(Options(text="Hello"), job(response_format={"type": "regex", "pattern": "a+"})))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, UnsupportedParameter)
    assert failed.error.param == "response_format"
    assert isinstance(last(run(Options(text="Hello"), job(response_format={"type": "text"}, best_of=1))), Finished)


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": "now"}},
    {"type": "function", "function": {"name": "get_weather", "parameters": CITY}},
]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "text"}}\n</tool_call>'


def test_a_required_call_is_made_whatever_the_script_says() -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    assert text(run(Options(text="Hello"), job(tools=TOOLS, tool_choice=choice))) == CALL
    assert text(run(Options(text="Hello"), job(tools=TOOLS))) == "Hello"
    assert text(run(Options(mode="call"), job(tools=TOOLS[1:]))) == CALL


def test_a_script_that_calls_answers_once_the_tool_has() -> None:
    said = [{"role": "user", "content": "?"}, {"role": "tool", "tool_call_id": "1", "content": "sunny"}]
    assert "sunny" in text(run(Options(mode="call"), job(tools=TOOLS, messages=said)))


def test_json_and_choices_are_what_was_asked_for() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": CITY}}
    assert json.loads(text(run(Options(), job(response_format=form)))) == {"city": "text"}
    assert "said" in json.loads(text(run(Options(), job(response_format={"type": "json_object"}))))
    assert text(run(Options(), job(response_format={"type": "choice", "choices": ["yes", "no"]}))) == "yes"


def test_reasoning_comes_first() -> None:
    backend = ScriptedBackend("m", Options(reasoning="Hm.", text="Yes."))
    assert (backend.card.reasoning, backend.card.tool_format) == ("think", "hermes")
    assert text(run(Options(reasoning="Hm.", text="Yes."), job())) == "<think>\nHm.\n</think>\n\nYes."


def test_a_request_steers_a_script_that_lets_itself_be_steered() -> None:
    steering = {"agon-script": "text=a\\, b,fail_at=9"}
    assert text(run(Options(steered=True), job(metadata=steering))) == "a, b"
    assert text(run(Options(text="mine"), job(metadata=steering))) == "mine"
    failed = last(run(Options(steered=True), job(metadata={"agon-script": "delay=soon"})))
    assert isinstance(failed, Failed)
    assert "delay" in str(failed.error)
