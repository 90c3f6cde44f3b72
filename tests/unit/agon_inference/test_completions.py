"""The record of an answer has calls and reasoning apart from the text, as HTTP tells it."""

from typing import Any

import pytest

from agon.messages import GenerationRequest, ModelCard, now
from agon.stream.frames import Admission, Delta, End
from agon_inference.completions import completed
from agon_inference.taken import Identity
from agon_inference.transcript import Entry, read

CARD = ModelCard(
    model="m", digest="sha256:0", backend="scripted", context_length=64, created_at=now(), tool_format="hermes",
    reasoning="think",
)  # fmt: skip
SAID = '<think>Hm.</think>One moment.<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def message(said: str = SAID, card: ModelCard | None = CARD, **fields: Any) -> Any:
    request = GenerationRequest.model_validate(
        {"request_id": "r1", "model": "m", "messages": [{"role": "user", "content": "?"}], **fields}
    )
    identity = Identity("default", "r1", "m", "t/0/0", "d", now())
    entries = [Entry(0, 0, Admission("w", 3, 0, 1.0)), Entry(0, 0, Delta((1,), said, "stop"))]
    transcript = read([*entries, Entry(0, 1, End("finished", 3, 1, 0, 1.0))], 1)
    return completed(identity, request, transcript, "w", 1, card=card).choices[0].message


def test_calls_and_reasoning_are_apart() -> None:
    told = message(tools=TOOLS)
    assert (told.content, told.reasoning) == ("One moment.", "Hm.")
    (call,) = told.tool_calls
    assert (call.function.name, call.function.arguments) == ("f", '{"a": 1}')
    assert call.id.startswith("call_")


def test_without_tools_a_call_is_text() -> None:
    assert message().tool_calls is None
    assert "<tool_call>" in message().content


@pytest.mark.parametrize("fields", [{"card": None}, {"store": False}])
def test_what_is_not_known_or_not_kept(fields: dict[str, Any]) -> None:
    told = message(**fields)
    assert told.content == (SAID if "card" in fields else None)
    assert told.tool_calls is None


@pytest.mark.parametrize("store", [True, False])
def test_reasoning_is_counted_piece_by_piece_whether_or_not_the_text_is_kept(store: bool) -> None:
    request = GenerationRequest.model_validate(
        {"request_id": "r1", "model": "m", "messages": [{"role": "user", "content": "?"}], "store": store}
    )
    identity = Identity("default", "r1", "m", "t/0/0", "d", now())
    pieces = [((1,), "<think>"), ((2, 3), "Hm."), ((4,), "</think>"), ((5, 6), "One moment.")]
    entries = [Entry(0, 0, Admission("w", 3, 0, 1.0)), *(Entry(0, 0, Delta(ids, text)) for ids, text in pieces)]
    transcript = read([*entries, Entry(0, 6, End("finished", 3, 6, 0, 1.0))], 1)
    assert completed(identity, request, transcript, "w", 1, card=CARD).usage.reasoning_tokens == 3
    plain = CARD.model_copy(update={"reasoning": None})
    assert completed(identity, request, transcript, "w", 1, card=plain).usage.reasoning_tokens is None
