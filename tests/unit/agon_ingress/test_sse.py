"""The bytes of a stream."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.errors import StreamLost
from agon.stream.frames import End
from agon_ingress.chat_types import ChatCompletionChunk
from agon_ingress.sse import ChunkWriter, error_event, usage_of

END = End("finished", 7, 3, 2, 0.0)


def writer(*, include_usage: bool = False) -> ChunkWriter:
    return ChunkWriter("chatcmpl-1", 123, 'mo"del/é', "fp_1", 2, include_usage=include_usage)


def events(data: bytes) -> list[dict]:
    assert data.endswith(b"\n\n")
    lines = data.removesuffix(b"\n\n").split(b"\n\n")
    assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


@pytest.mark.parametrize("include_usage", [False, True])
def test_every_chunk_is_what_openai_defines(include_usage: bool) -> None:
    chunks = writer(include_usage=include_usage)
    told = [*events(chunks.roles()), *events(chunks.content(1, "Hi")), *events(chunks.finish(1, "length"))]
    for event in told:
        chunk = ChatCompletionChunk.model_validate(event, strict=False)
        assert (chunk.id, chunk.created, chunk.model, chunk.system_fingerprint) == (
            "chatcmpl-1",
            123,
            'mo"del/é',
            "fp_1",
        )
        assert ("usage" in event) is include_usage
        assert event.get("usage") is None
    assert [event["choices"][0]["index"] for event in told] == [0, 1, 1, 1]
    assert [event["choices"][0]["delta"] for event in told] == [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
    assert [event["choices"][0]["finish_reason"] for event in told] == [None, None, None, "length"]


@given(st.text())
def test_any_text_survives(text: str) -> None:
    (event,) = events(writer().content(0, text))
    assert event["choices"][0]["delta"]["content"] == text


def test_the_usage_chunk_has_no_choices() -> None:
    (event,) = events(writer(include_usage=True).usage(usage_of(END)))
    assert event["choices"] == []
    assert event["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_an_error_is_an_event_that_clients_raise_on() -> None:
    (event,) = events(error_event(StreamLost("gone")))
    assert event["error"]["code"] == "stream_lost"
