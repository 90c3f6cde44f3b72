"""The upstream backend against a real HTTP server that behaves well, badly, and not at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from agon.backends import Admitted, Event, Failed, Finished, Job, Tokens
from agon.backends.upstream import Options, UpstreamBackend
from agon.errors import (
    AgonError,
    Cancelled,
    ContextTooLong,
    Expired,
    InvalidRequest,
    RateLimited,
    TooLarge,
    Unavailable,
    UpstreamFailed,
    WorkerLost,
)
from agon.messages import GenerationRequest, now

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n"
Answering = Callable[["Call"], Awaitable[None]]


@dataclass
class Call:
    """A request as the server got it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def left(self) -> None:
        """Return when the client has closed the connection."""
        await asyncio.wait_for(self.reader.read(), 60)


@dataclass
class Server:
    """A server whose answers are bytes."""

    answer: Answering
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            call = Call(head[0].split()[1], headers, body, writer, reader)
            self.calls.append(call)
            await self.answer(call)
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


def chunk(content: str | None = None, index: int = 0, reason: str | None = None) -> bytes:
    choice = {"index": index, "delta": {} if content is None else {"content": content}, "finish_reason": reason}
    return (
        b"data: " + json.dumps({"id": "c", "choices": [choice], "usage": None}, ensure_ascii=False).encode() + b"\n\n"
    )


DONE = b"data: [DONE]\n\n"
USAGE = (
    b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16, '
    b'"prompt_tokens_details": {"cached_tokens": 4}}}\n\n'
)


def refusing(status: int, body: bytes = b"", *headers: str) -> Answering:
    async def answer(call: Call) -> None:
        lines = [f"HTTP/1.1 {status} No", f"content-length: {len(body)}", "connection: close", *headers]
        await call.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return answer


def sending(*parts: bytes) -> Answering:
    async def answer(call: Call) -> None:
        await call.send(*parts)

    return answer


def job(request_id: str = "r", emitted: tuple[tuple[int, ...], ...] = (), **fields: Any) -> Job:
    asked = {"model": "m", "seed": 1, "messages": [{"role": "user", "content": "hi"}], "request_id": request_id}
    return Job(GenerationRequest.model_validate(asked | fields), emitted)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Listening:
    """Collects events and waits for ends."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def emit(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        self._news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def ends(self) -> list[Event]:
        return [event for event in self.events if isinstance(event, (Finished, Failed))]

    def text(self, choice: int = 0) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Tokens) and e.choice == choice)


@asynccontextmanager
async def talking(
    answer: Answering, key: str | None = None, **options: Any
) -> AsyncIterator[tuple[UpstreamBackend, Server, Listening]]:
    server, listening = Server(answer), Listening()
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    backend = UpstreamBackend("m", server.url, Options(**options), key)
    await backend.start(listening.emit)
    try:
        yield backend, server, listening
    finally:
        await backend.stop()
        listener.close()
        await listener.wait_closed()


async def failure(answer: Answering, each: Job | None = None, **options: Any) -> AgonError:
    async with talking(answer, **options) as (backend, _, told):
        backend.submit(each or job())
        await told.until(told.ends)
    [end] = told.ends()
    assert isinstance(end, Failed)
    assert isinstance(end.error, AgonError)
    return end.error


async def test_an_answer_is_told_piece_by_piece_with_the_servers_usage() -> None:
    parts = (OK, chunk(""), chunk("Hé"), chunk("llo\u2028"), chunk(None, reason="stop"), USAGE, DONE)
    async with talking(sending(*parts), key="secret", name="their/name") as (backend, server, told):
        backend.submit(job(max_tokens=5, temperature=0.5, stop=["x"], n=1))
        await told.until(told.ends)
    assert told.events == [
        Admitted("default/r", 0),
        Tokens("default/r", 0, 0, (-1,), "Hé"),
        Tokens("default/r", 0, 1, (-1,), "llo\u2028"),
        Tokens("default/r", 0, 2, (), "", "stop"),
        Finished("default/r", 7, 9, 4),
    ]
    [call] = server.calls
    assert call.path == "/v1/chat/completions"
    assert call.headers["authorization"] == "Bearer secret"
    assert call.body == {
        "model": "their/name",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "temperature": 0.5,
        "seed": 1,
        "stop": ["x"],
    }


async def test_an_embedding_is_told_as_a_vector_for_each_input() -> None:
    body = json.dumps({"data": [{"index": 0, "embedding": "AACAPw=="}], "usage": {"prompt_tokens": 3}}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    async with talking(sending(head, body), embeds=True) as (backend, server, told):
        assert backend.card.kinds == ("embedding",)
        backend.submit(job(kind="embedding", messages=None, inputs=["hi"]))
        await told.until(told.ends)
    assert told.events == [
        Admitted("default/r", 0),
        Tokens("default/r", 0, 0, (), "AACAPw==", "stop"),
        Finished("default/r", 3, 0),
    ]
    assert server.calls[0].path == "/v1/embeddings"
    assert server.calls[0].body == {"model": "m", "input": ["hi"], "encoding_format": "base64"}


async def test_any_cutting_of_the_stream_tells_the_same() -> None:
    stream = chunk("größer ") + b": ping\n\n" + chunk("🌱", reason="length") + DONE

    async def answer(call: Call) -> None:
        await call.send(OK)
        for byte in stream:
            await call.send(bytes([byte]))

    async with talking(answer) as (backend, _, told):
        backend.submit(job())
        await told.until(told.ends)
    assert told.text() == "größer 🌱"
    assert told.ends() == [Finished("default/r", 0, 2)]


async def test_several_choices_are_told_apart() -> None:
    parts = (OK, chunk("a", 0), chunk("b", 1), chunk("c", 1, "stop"), chunk("d", 0, "length"), DONE)
    async with talking(sending(*parts)) as (backend, _, told):
        backend.submit(job(n=2))
        await told.until(told.ends)
    assert (told.text(0), told.text(1)) == ("ad", "bc")
    assert [(e.choice, e.finish_reason) for e in told.events if isinstance(e, Tokens) and e.finish_reason] == [
        (1, "stop"),
        (0, "length"),
    ]


async def test_a_raw_prompt_goes_to_completions() -> None:
    parts = (OK, b'data: {"choices": [{"index": 0, "text": "more", "finish_reason": "stop"}]}\n\n', DONE)
    async with talking(sending(*parts)) as (backend, server, told):
        backend.submit(job(kind="completion", prompt="once", messages=None))
        await told.until(told.ends)
    assert told.text() == "more"
    assert (server.calls[0].path, server.calls[0].body["prompt"]) == ("/v1/completions", "once")


ERROR = b'{"error": {"message": "too long for us", "code": "context_length_exceeded", "type": "x", "param": null}}'


@pytest.mark.parametrize(
    ("answer", "kind", "code", "says"),
    [
        (refusing(400, b'{"error": {"message": "bad stop"}}'), InvalidRequest, None, "bad stop"),
        (refusing(400, ERROR), ContextTooLong, "context_length_exceeded", "too long for us"),
        (refusing(422, b'{"detail": "n"}'), InvalidRequest, None, "refuses"),
        (refusing(401, b'{"error": {"message": "key sk-1"}}'), UpstreamFailed, "upstream_unauthorized", "key"),
        (refusing(403), UpstreamFailed, "upstream_unauthorized", "key"),
        (refusing(404), UpstreamFailed, "upstream_not_found", "model or path"),
        (refusing(413), TooLarge, "request_too_large", "too large"),
        (refusing(500, b"<html>oops</html>"), UpstreamFailed, "upstream_failed", "500: <html>oops"),
        (refusing(302, b"", "location: http://127.0.0.1:1/"), UpstreamFailed, "upstream_failed", "302"),
        (sending(OK, b'data: {"error": {"message": "gone mad"}}\n\n'), UpstreamFailed, None, "gone mad"),
        (sending(OK, b"data: not json\n\n"), UpstreamFailed, None, "no chunk"),
        (sending(OK, b"data: [1]\n\n"), UpstreamFailed, None, "no chunk"),
        (sending(OK, chunk("a", 3)), UpstreamFailed, None, "no chunk"),
        (sending(OK, chunk("a", -1)), UpstreamFailed, None, "no chunk"),
        (sending(OK, chunk("a", 0, "stop"), chunk("b")), UpstreamFailed, None, "no chunk"),
        (sending(OK, chunk("a", 0, "content_filter")), UpstreamFailed, "content_filter", "filter"),
        (sending(OK, chunk("a")), UpstreamFailed, None, "broke off"),
        (sending(OK, chunk("a"), DONE), UpstreamFailed, None, "broke off"),
        (sending(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), UpstreamFailed, None, "does not stream"),
        (sending(b"SSH-2.0-OpenSSH\r\n"), UpstreamFailed, None, "connection"),
        (sending(), UpstreamFailed, None, "connection"),
        (sending(OK.replace(b"connection: close", b"content-length: 900"), chunk("a")), UpstreamFailed, None, "broke"),
    ],
)
async def test_what_goes_wrong_over_there_is_told_in_our_words(
    answer: Answering, kind: type[AgonError], code: str | None, says: str
) -> None:
    error = await failure(answer)
    assert type(error) is kind
    assert says in error.message
    assert "sk-1" not in error.message
    if code is not None:
        assert error.code == code


async def test_a_busy_server_says_when_to_come_back() -> None:
    error = await failure(refusing(429, b"{}", "retry-after: 7"))
    assert (type(error), error.retry_after) == (RateLimited, timedelta(seconds=7))
    error = await failure(refusing(503, b"{}", "retry-after: soon"))
    assert (type(error), error.retry_after) == (Unavailable, timedelta(seconds=1))


async def test_a_silent_server_times_out() -> None:
    async def silent(call: Call) -> None:
        await call.send(OK, chunk("a"))
        await call.left()

    error = await failure(silent, timeout=0.2)
    assert error.code == "upstream_timeout"


async def test_a_server_that_is_not_there_is_named_so(caplog: pytest.LogCaptureFixture) -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    told = Listening()
    backend = UpstreamBackend("m", f"http://127.0.0.1:{port}/v1")
    await backend.start(told.emit)
    backend.submit(job())
    await told.until(told.ends)
    await backend.stop()
    [end] = told.ends()
    assert isinstance(end, Failed)
    assert end.error.code == "upstream_unreachable"  # type: ignore[attr-defined]
    assert str(port) not in end.error.message
    assert f"http://127.0.0.1:{port}/v1: the upstream cannot be reached (Cannot connect" in caplog.text


async def test_a_deadline_ends_the_stream() -> None:
    async def slow(call: Call) -> None:
        await call.send(OK, chunk("a"))
        await call.left()

    error = await failure(slow, job(deadline=now() + timedelta(seconds=0.3)))
    assert isinstance(error, Expired)


async def test_cancelling_closes_the_connection_and_ends_once() -> None:
    left = asyncio.Event()

    async def endless(call: Call) -> None:
        await call.send(OK, chunk("a"))
        await call.left()
        left.set()

    async with talking(endless) as (backend, _, told):
        backend.submit(job())
        await told.until(lambda: told.text() == "a")
        assert (backend.load().running, backend.load().waiting) == (1, 0)
        backend.cancel("default/r")
        backend.cancel("default/r")
        backend.cancel("default/unknown")
        await told.until(told.ends)
        async with asyncio.timeout(60):
            await left.wait()
        [end] = told.ends()
        assert isinstance(end, Failed)
        assert isinstance(end.error, Cancelled)
        assert backend.load().running == 0


async def test_no_more_than_the_cap_are_open_and_all_are_answered() -> None:
    async def answer(call: Call) -> None:
        await call.send(OK, chunk("a"))
        await asyncio.sleep(0)
        await call.send(chunk("b", reason="stop"), DONE)

    async with talking(answer, concurrency=3) as (backend, server, told):
        for i in range(20):
            backend.submit(job(f"r{i}"))
        await told.until(lambda: len(told.ends()) == 20)
    assert all(isinstance(end, Finished) for end in told.ends())
    assert 1 <= server.most_open <= 4  # a connection that is done with may still be closing


async def test_jobs_from_other_threads_and_from_before_the_start_are_served() -> None:
    parts = (OK, chunk("a", reason="stop"), DONE)
    server, told = Server(sending(*parts)), Listening()
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    backend = UpstreamBackend("m", f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")
    backend.submit(job("early"))
    await backend.start(told.emit)
    await asyncio.to_thread(backend.submit, job("other"))
    await told.until(lambda: len(told.ends()) == 2)
    await backend.stop()
    listener.close()
    await listener.wait_closed()


async def test_what_was_shown_cannot_be_resumed() -> None:
    error = await failure(sending(OK), job(emitted=((-1,),)))
    assert isinstance(error, WorkerLost)


async def test_stopping_drops_what_runs_without_an_end() -> None:
    async def endless(call: Call) -> None:
        await call.send(OK, chunk("a"))
        await call.left()

    async with talking(endless) as (backend, _, told):
        backend.submit(job())
        await told.until(lambda: told.text() == "a")
        await backend.stop()
        assert told.ends() == []
