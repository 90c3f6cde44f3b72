"""An OpenAI server that answers at once: what proxies are put in front of, so that they are all that is measured.

    python benchmarks/api_upstream.py        (prints its port; ends with its standard input)

One process, one event loop, no framework: it finds the end of a request and writes an answer that was laid out before.
A streamed answer has a chunk of HTTP for each event, as servers that flush write it, all in one write.
"""

import asyncio
import base64
import json
import struct
import sys
from collections.abc import Iterable
from typing import Any, cast

import uvloop

MODEL = "upstream"
TOKENS = 16
WORD = "word "
DIMENSIONS = 384
_TEXT = WORD * TOKENS
_CREATED = 1_800_000_000
_USAGE = {"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS}
_OWN_USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": TOKENS,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 9 + TOKENS,
}


def _chat() -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop", "logprobs": None}
    return {**_head("chat.completion"), "choices": [choice], "usage": _USAGE}


def _completion() -> dict[str, Any]:
    choice = {"index": 0, "text": _TEXT, "finish_reason": "stop", "logprobs": None}
    return {**_head("text_completion"), "choices": [choice], "usage": _USAGE}


def _head(kind: str) -> dict[str, Any]:
    return {"id": "answer-1", "object": kind, "created": _CREATED, "model": MODEL}


def _chat_chunks() -> Iterable[dict[str, Any]]:
    head = _head("chat.completion.chunk")
    deltas = [{"role": "assistant", "content": ""}, *({"content": WORD} for _ in range(TOKENS))]
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**head, "choices": [], "usage": _USAGE}


def _completion_chunks() -> Iterable[dict[str, Any]]:
    head = _head("text_completion")
    for number in range(TOKENS):
        reason = "stop" if number == TOKENS - 1 else None
        yield {**head, "choices": [{"index": 0, "text": WORD, "finish_reason": reason, "logprobs": None}]}
    yield {**head, "choices": [], "usage": _USAGE}


def _embeddings() -> dict[str, Any]:
    vector = [1 / (1 + number) for number in range(DIMENSIONS)]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return {"object": "list", "model": MODEL, "data": [{**_VECTOR, "embedding": vector}], "usage": usage}


def _embeddings_as_base64() -> dict[str, Any]:
    said = _embeddings()
    packed = struct.pack(f"<{DIMENSIONS}f", *said["data"][0]["embedding"])
    return {**said, "data": [{**_VECTOR, "embedding": base64.b64encode(packed).decode()}]}


_VECTOR = {"object": "embedding", "index": 0}


def _response() -> dict[str, Any]:
    content = {"type": "output_text", "text": _TEXT, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [content]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": _CREATED,
        "status": "completed",
        "model": MODEL,
        "output": [message],
        "usage": _OWN_USAGE,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def _whole(body: dict[str, Any]) -> bytes:
    data = json.dumps(body, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


def _streamed(chunks: Iterable[dict[str, Any]]) -> bytes:
    events = [b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode() for chunk in chunks]
    parts = [b"%x\r\n%b\r\n" % (len(event), event) for event in [*events, b"data: [DONE]\n\n"]]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(parts) + b"0\r\n\r\n"


_WHOLE = {
    b"/v1/chat/completions": _whole(_chat()),
    b"/v1/completions": _whole(_completion()),
    b"/v1/embeddings": _whole(_embeddings()),
    b"/v1/responses": _whole(_response()),
}
_STREAMED = {
    b"/v1/chat/completions": _streamed(_chat_chunks()),
    b"/v1/completions": _streamed(_completion_chunks()),
}
_BASE64 = _whole(_embeddings_as_base64())
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


def answer(path: bytes, body: bytes) -> bytes:
    """What is said to a request."""
    if b'"stream":true' in body or b'"stream": true' in body:
        return _STREAMED.get(path, _NOT_FOUND)
    if path == b"/v1/embeddings" and b'"base64"' in body:
        return _BASE64
    return _WHOLE.get(path, _NOT_FOUND)


class _Talking(asyncio.Protocol):
    """One connection, kept open."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:end].lower()
            _, _, after = head.partition(b"content-length:")
            begin, size = end + 4, int(after.split(b"\r\n", 1)[0] or 0)
            if len(self._rest) < begin + size:
                return
            body, self._rest = self._rest[begin : begin + size], self._rest[begin + size :]
            self._transport.write(answer(head.split(b" ", 2)[1], body))


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Talking, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
