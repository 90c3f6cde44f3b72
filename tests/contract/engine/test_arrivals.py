"""Prompts of text are encoded beside the steps: the longest holds up nobody, and what cannot fit is not begun."""

import threading
from typing import Any

import pytest

from agon.engine import Conversation, Engine, Failed, Finished, Request, SamplingParams
from agon.engine.params import Prompt
from agon.errors import Cancelled, ContextTooLong
from contract.engine.tiny import drain, make_engine, make_hf_tokenizer, prompts_of, run, told_tokens

GREEDY = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True)
IDS = prompts_of((9,))[0]
LONG = "hello there " * 6000


class Slow:
    """An engine whose tokenizer waits before it encodes a long text."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = make_engine(context_length=250)
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.encoded: list[Prompt] = []
        encode = self.engine.tokenizer.encode

        def slowly(prompt: Prompt, room: int) -> list[int]:
            self.encoded.append(prompt)
            if prompt == LONG:
                self.begun.set()
                assert self.go_on.wait(60)
                return [5] * 100
            return encode(prompt, room)

        monkeypatch.setattr(self.engine.tokenizer, "encode", slowly)

    def until_ended(self, *keys: str) -> dict[str, Finished | Failed]:
        ends: dict[str, Finished | Failed] = {}
        while not {*keys} <= {*ends}:
            ends |= {event.key: event for event in self.engine.step() if isinstance(event, (Finished, Failed))}
        return ends


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Slow(monkeypatch)
    yield made
    made.go_on.set()


def test_a_long_prompt_that_is_being_encoded_holds_up_neither_tokens_nor_text(slow: Slow) -> None:
    slow.engine.submit(Request("long", LONG, GREEDY))
    assert slow.begun.wait(60)
    slow.engine.submit(Request("ids", IDS, GREEDY))
    slow.engine.submit(Request("text", "hello", GREEDY))
    assert all(isinstance(end, Finished) for end in slow.until_ended("ids", "text").values())
    assert slow.engine.busy
    assert slow.engine.preparing
    assert slow.engine.counts == (0, 1)
    slow.go_on.set()
    [end] = slow.until_ended("long").values()
    assert isinstance(end, Finished)
    assert end.prompt_tokens == 100


def test_a_request_can_be_cancelled_while_its_prompt_is_encoded(slow: Slow) -> None:
    for key in ("long", "never begun"):
        slow.engine.submit(Request(key, LONG, GREEDY))
    slow.engine.step()
    for key in ("long", "never begun"):
        slow.engine.cancel(key)
    for end in slow.until_ended("long", "never begun").values():
        assert isinstance(end, Failed)
        assert isinstance(end.error, Cancelled)
    assert not slow.engine.busy
    slow.go_on.set()
    drain(slow.engine)
    assert slow.encoded == [LONG]


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (LONG, "prompt"),
        ([{"role": "user", "content": LONG}], "messages"),
        ([{"role": "user", "content": None, "tool_calls": [{"function": {"name": LONG}}]}], "messages"),
        (Conversation([{"role": "user", "content": "hi"}], tools=[{"function": {"description": LONG}}]), "tools"),
        (Conversation([{"role": "user", "content": "hi"}], (), {"documents_": [LONG]}), "chat_template_kwargs"),
        ([5] * 1000, "prompt"),
    ],
)
def test_what_cannot_fit_however_it_is_cut_is_refused_before_it_is(
    prompt: Prompt, param: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it was encoded")

    for name in ("encode", "apply_chat_template"):
        monkeypatch.setattr(type(make_hf_tokenizer()), name, never)
    [end] = run(engine, Request("r", prompt, GREEDY))["r"]
    assert isinstance(end, Failed)
    assert isinstance(end.error, ContextTooLong), end.error
    assert end.error.param == param


def test_a_conversation_that_does_not_fit_goes_on_without_its_oldest_turns_where_that_is_wanted() -> None:
    encode, room = make_engine().tokenizer.encode, 256
    head, last = {"role": "system", "content": "be short"}, {"role": "user", "content": "hi"}
    old = [{"role": role, "content": "hello there " * 4} for _ in range(40) for role in ("user", "assistant")]
    with pytest.raises(ContextTooLong):
        encode(Conversation([head, *old, *old, *old, last]), room)
    kept = [encode(Conversation([head, *old[80 - 2 * turns :], last]), room) for turns in range(4)]
    spare = room - len(kept[2])
    assert encode(Conversation([head, *old, last], truncate=True, spare=spare), room) == kept[2]
    assert encode(Conversation([head, *old, last], truncate=True, spare=spare + 1), room) == kept[1]
    assert encode(Conversation([head, last], truncate=True), room) == kept[0]


def test_many_texts_at_once_are_each_answered_as_their_tokens_are() -> None:
    engine = make_engine()
    texts = [f"hello there, how are you number {index}?" for index in range(70)]
    ids = [engine.tokenizer.encode(text, 250) for text in texts]
    told = run(engine, *(Request(str(index), text, GREEDY) for index, text in enumerate(texts)))
    expected = run(engine, *(Request(str(index), tokens, GREEDY) for index, tokens in enumerate(ids)))
    assert {key: told_tokens(events) for key, events in told.items()} == {
        key: told_tokens(events) for key, events in expected.items()
    }


def test_offline_prompts_of_text_are_awaited(slow: Slow) -> None:
    threading.Timer(0.05, slow.go_on.set).start()
    answers = Engine.generate(slow.engine, [LONG, "hello"], GREEDY, progress=False)
    assert [len(answer.token_ids) for answer in answers] == [4, 4]
