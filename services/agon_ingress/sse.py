"""Server-sent events of a chat completion, as bytes. The hot path: everything but the text is laid out once."""

import msgspec
import orjson

from agon.errors import AgonError
from agon.stream.frames import End
from agon_ingress.chat_types import ChatCompletionChunk, PromptTokensDetails, Usage
from agon_ingress.errors import envelope

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": waiting\n\n"
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # nginx would otherwise collect tokens until its buffer is full.
    (b"x-accel-buffering", b"no"),
)

_string = msgspec.json.Encoder().encode


def usage_of(end: End) -> Usage:
    """The token counts of a request that has ended."""
    return Usage(
        prompt_tokens=end.prompt_tokens,
        completion_tokens=end.completion_tokens,
        total_tokens=end.prompt_tokens + end.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=end.cached_tokens),
    )


def error_event(error: AgonError) -> bytes:
    """An error after the head has gone out: clients raise on any event whose JSON has `error`."""
    return b"data: " + envelope(error) + b"\n\n"


class ChunkWriter:
    """The chunks of one stream. `include_usage` puts `usage: null` into all but the last, as OpenAI does."""

    def __init__(
        self, completion_id: str, created: int, model: str, fingerprint: str, n: int, *, include_usage: bool
    ) -> None:
        self._empty = ChatCompletionChunk(
            id=completion_id, created=created, model=model, system_fingerprint=fingerprint, choices=()
        )
        stem = orjson.dumps(self._empty.model_dump(exclude={"choices", "usage"})).removesuffix(b"}")
        self._heads = tuple(b'data: %b,"choices":[{"index":%d,"delta":' % (stem, choice) for choice in range(n))
        self._contents = tuple(head + b'{"content":' for head in self._heads)
        usage = b',"usage":null' if include_usage else b""
        self._tail = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._content_tail = b"}" + self._tail
        self._finish = b'{},"logprobs":null,"finish_reason":%b}]' + usage + b"}\n\n"

    def roles(self) -> bytes:
        """The first chunk of every choice."""
        return b"".join(head + b'{"role":"assistant","content":""}' + self._tail for head in self._heads)

    def content(self, choice: int, text: str) -> bytes:
        """New text of a choice."""
        return self._contents[choice] + _string(text) + self._content_tail

    def finish(self, choice: int, reason: str) -> bytes:
        """A choice has ended."""
        return self._heads[choice] + self._finish % _string(reason)

    def usage(self, usage: Usage) -> bytes:
        """The chunk with the counts."""
        chunk = self._empty.model_copy(update={"usage": usage})
        return b"data: " + chunk.model_dump_json().encode() + b"\n\n"
