"""A chat completion's bytes, and that a stream says what the whole answer says."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion as TheirCompletion
from openai.types.chat import ChatCompletionChunk as TheirChunk

from agon.engine.events import Alternative, TokenLogprob
from agon.errors import StreamLost
from agon.stream.frames import Delta, End
from agon_ingress.asking.telling import Head, Speech
from agon_ingress.chat.telling import ChatStream, WholeChat
from agon_ingress.chat.types import ChatCompletion, ChatCompletionChunk
from agon_ingress.http.sse import error_event

END = End("finished", 7, 3, 2, 0.0)
PLAIN_SPEECH = Speech()
HEAD = Head("chatcmpl-1", 123, 'mo"del/é', "fp_1")
TOOLS = Speech("hermes", ("get_weather",), "think")


def scored(text: str, logprob: float = -0.5) -> TokenLogprob:
    return TokenLogprob(text, logprob, text.encode(), (Alternative(text, logprob, text.encode()),))


def events(data: bytes) -> list[dict[str, Any]]:
    if not data:
        return []
    assert data.endswith(b"\n\n")
    lines = data.removesuffix(b"\n\n").split(b"\n\n")
    assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line != b"data: [DONE]"]


def stream(
    deltas: Sequence[tuple[int, Delta]], speech: Speech = PLAIN_SPEECH, n: int = 2, usage: bool = True
) -> list[Any]:
    """All events of a stream; each is what OpenAI's client and our own types say."""
    writer = ChatStream(HEAD, speech, n, include_usage=usage)
    data = writer.begin() + b"".join(writer.delta(*delta) for delta in deltas) + writer.end([END])
    assert data.endswith(b"data: [DONE]\n\n")
    told = events(data)
    for event in told:
        ChatCompletionChunk.model_validate(event)
        TheirChunk.model_validate(event, strict=True)
    return told


def whole(deltas: Sequence[tuple[int, Delta]], speech: Speech = PLAIN_SPEECH, n: int = 2) -> dict[str, Any]:
    collector = WholeChat(HEAD, speech, n)
    for delta in deltas:
        collector.delta(*delta)
    told: dict[str, Any] = json.loads(collector.body([END]).model_dump_json())
    ChatCompletion.model_validate(told)
    TheirCompletion.model_validate(told, strict=True)
    return told


def joined(told: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """A stream put together as a client does it."""
    choices: list[dict[str, Any]] = [{"content": "", "reasoning": "", "calls": [], "logprobs": []} for _ in range(n)]
    for event in told:
        for choice in event["choices"]:
            one, delta = choices[choice["index"]], choice["delta"]
            assert "finish_reason" not in one, "nothing follows the finish"
            one["content"] += delta.get("content") or ""
            one["reasoning"] += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    assert call["index"] == len(one["calls"])
                    one["calls"].append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
                one["calls"][call["index"]]["arguments"] += call["function"]["arguments"]
            one["logprobs"] += (choice["logprobs"] or {}).get("content", ())
            if choice["finish_reason"] is not None:
                one["finish_reason"] = choice["finish_reason"]
    return choices


def as_joined(told: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole answer in the same form."""
    return [
        {
            "content": choice["message"]["content"] or "",
            "reasoning": choice["message"].get("reasoning_content", ""),
            "calls": [{"id": c["id"], **c["function"]} for c in choice["message"].get("tool_calls", ())],
            "logprobs": (choice["logprobs"] or {}).get("content", []),
            "finish_reason": choice["finish_reason"],
        }
        for choice in told["choices"]
    ]


PLAIN = [(0, Delta((1,), "Hi")), (1, Delta((2,), "Yo")), (1, Delta((3,), "", "length")), (0, Delta((3,), "!", "stop"))]
CALLED = [
    (0, Delta((1, 2), "<think>\nRome?")),
    (0, Delta((3,), " Yes.</think>\n\nOne moment.\n<tool")),
    (0, Delta((4,), '_call>\n{"name": "get_weather", "arguments": {"city"')),
    (0, Delta((5,), ': "Rome"}}\n</tool_call>')),
    (0, Delta((6,), "", "stop")),
]


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_follows_the_rules(usage: bool) -> None:
    told = stream(PLAIN, usage=usage)
    assert {(e["id"], e["created"], e["model"], e["system_fingerprint"]) for e in told} == {
        ("chatcmpl-1", 123, 'mo"del/é', "fp_1")
    }
    chunks = told[:-1] if usage else told
    assert [chunk["choices"][0]["index"] for chunk in chunks[:2]] == [0, 1]
    assert all(chunk["choices"][0]["delta"] == {"role": "assistant", "content": ""} for chunk in chunks[:2])
    assert all(("usage" in chunk) is usage for chunk in chunks)
    assert all(chunk.get("usage") is None for chunk in chunks)
    if usage:
        assert told[-1]["choices"] == []
        assert told[-1]["usage"] == {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 2},
        }
    assert [one["finish_reason"] for one in joined(told, 2)] == ["stop", "length"]


def test_reasoning_text_and_calls_are_told_apart() -> None:
    told = whole(CALLED, TOOLS, n=1)
    (choice,) = told["choices"]
    assert choice["message"]["reasoning_content"] == "Rome? Yes."
    assert choice["message"]["content"] == "One moment."
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    assert call["id"].startswith("call_")
    assert choice["finish_reason"] == "tool_calls"
    assert told["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


def test_a_message_that_only_calls_has_no_content() -> None:
    told = whole([(0, Delta((1,), '<tool_call>{"name": "get_weather", "arguments": {}}', "stop"))], TOOLS, n=1)
    assert told["choices"][0]["message"]["content"] is None
    plain = whole([(0, Delta((), "", "stop"))], n=1)["choices"][0]["message"]
    assert plain == {"role": "assistant", "content": "", "refusal": None}


def test_only_one_call_where_several_are_not_wanted() -> None:
    call = '<tool_call>{"name": "get_weather", "arguments": {}}</tool_call>'
    deltas = [(0, Delta((1,), call + call, "stop"))]
    once = Speech("hermes", ("get_weather",), several=False)
    assert len(whole(deltas, once, n=1)["choices"][0]["message"]["tool_calls"]) == 1
    assert joined(stream(deltas, once, n=1), 1) == as_joined(whole(deltas, once, n=1))


def test_log_probabilities_come_with_their_chunks_and_none_is_lost() -> None:
    deltas = [
        (0, Delta((1,), "Hé", logprobs=(scored("Hé"),))),
        (0, Delta((2,), "", logprobs=(scored("\ufffd"),))),
        (0, Delta((3,), "", "stop", (TokenLogprob("<|im_end|>", -0.1, None),))),
    ]
    told = whole(deltas, n=1)["choices"][0]["logprobs"]
    assert told["refusal"] is None
    assert told["content"][0] == {
        "token": "Hé",
        "logprob": -0.5,
        "bytes": [72, 195, 169],
        "top_logprobs": [{"token": "Hé", "logprob": -0.5, "bytes": [72, 195, 169]}],
    }
    assert told["content"][2]["bytes"] is None
    assert joined(stream(deltas, n=1), 1)[0]["logprobs"] == told["content"]


SCRAPS = st.sampled_from(
    ["<think>", "</think>", "<tool_call>", '{"name": "get_weather"', ', "arguments": {', '"a": 1', "}}", "</tool_call>",
     "\n", "word ", "é東"]
)  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 1), SCRAPS), max_size=12),
    st.sampled_from([Speech(), TOOLS, Speech("hermes", ("get_weather",), None, several=False)]),
    st.booleans(),
)
def test_a_stream_says_what_the_whole_answer_says(said: list[tuple[int, str]], speech: Speech, logprobs: bool) -> None:
    def delta(text: str, finish: str | None = None) -> Delta:
        return Delta((1,), text, finish, (scored(text),) if logprobs else None)

    deltas = [(choice, delta(text)) for choice, text in said] + [(0, delta("", "stop")), (1, delta("", "length"))]
    told = stream(deltas, speech)
    assert joined(told, 2) == as_joined(whole(deltas, speech))
    assert told[-1]["usage"] == whole(deltas, speech)["usage"]


@given(st.text())
def test_any_text_survives(text: str) -> None:
    told = ChatStream(HEAD, Speech(), 1, include_usage=False).delta(0, Delta((1,), text))
    assert "".join(event["choices"][0]["delta"]["content"] for event in events(told)) == text


def test_an_error_is_an_event_that_clients_raise_on() -> None:
    (event,) = events(error_event(StreamLost("gone")))
    assert event["error"]["code"] == "stream_lost"
