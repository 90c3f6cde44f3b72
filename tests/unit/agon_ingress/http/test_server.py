"""What uvicorn writes, as it goes out."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from agon_ingress.http.server import SMALL_HEAD, Joining, listen, make_server

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire:
    """A transport that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def write_eof(self) -> None:
        self.told.append("eof")

    def close(self) -> None:
        self.told.append("close")

    def is_closing(self) -> bool:
        return "close" in self.told


def joining() -> tuple[Any, Wire]:
    wire = Wire()
    made: Any = wire
    return Joining(made), wire


async def test_a_head_goes_out_with_what_is_written_behind_it() -> None:
    transport, wire = joining()
    transport.write(HEAD)
    transport.write(b"one")
    transport.write(b"two")
    assert wire.told == [HEAD + b"one", b"two"]


async def test_a_head_with_nothing_behind_it_goes_out_at_once_too() -> None:
    transport, wire = joining()
    transport.write(HEAD)
    await asyncio.sleep(0)
    transport.write(b"late")
    assert wire.told == [HEAD, b"late"]


async def test_a_head_for_a_client_that_has_left_is_dropped() -> None:
    transport, wire = joining()
    transport.write(HEAD)
    wire.close()
    await asyncio.sleep(0)
    assert wire.told == ["close"]


async def test_a_connection_that_ends_has_sent_its_head() -> None:
    transport, wire = joining()
    transport.write(HEAD)
    transport.write_eof()
    transport.write(HEAD)
    transport.close()
    await asyncio.sleep(0)
    assert wire.told == [HEAD, "eof", HEAD, "close"]
    assert transport.is_closing()


@asynccontextmanager
async def connected(
    left: asyncio.Event | None = None,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of a server that says each body back; to `/stream` it begins an answer, and notes when its client has
    left."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        length = [] if scope["path"] == "/stream" else [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        if scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            assert left is not None
            left.set()
        await send({"type": "http.response.body", "body": body})

    server, sock = make_server(app, timedelta(seconds=1), lifespan=False), listen("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve([sock]))
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


def test_an_idle_connection_stays_open_for_longer_than_proxies_keep_theirs() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

    assert make_server(app, timedelta(seconds=1), lifespan=False).config.timeout_keep_alive > 60


UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"


@pytest.mark.parametrize("at", [60, 150, 174, None])
async def test_a_client_that_asks_for_http_2_is_answered_in_this_protocol_body_and_all(at: int | None) -> None:
    asked = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n" + UPGRADE + b"\r\nhello"
    async with connected() as (reader, writer):
        for piece in (asked[:at], asked[at:] if at else b""):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert await answer(reader) == (200, b"hello")
        writer.write(
            b"GET / HTTP/1.1\r\nhost: x\r\n" + UPGRADE + b"\r\nPOST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nyou"
        )
        assert [await answer(reader), await answer(reader)] == [(200, b""), (200, b"you")]
        writer.write(b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await answer(reader))[0] == 400


@pytest.mark.parametrize(("beyond", "status"), [(0, 200), (1, 431)])
async def test_a_head_is_taken_at_the_bound_and_refused_one_byte_beyond(beyond: int, status: int) -> None:
    value = b"x" * (SMALL_HEAD - len(b"/") - len(b"x-a") + beyond)
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx-a: " + value + b"\r\n\r\n")
        told, body = await answer(reader)
        assert told == status
        assert status == 200 or json.loads(body)["error"]["code"] == "invalid_http"


async def test_a_head_without_an_end_is_refused() -> None:
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx-a: " + b"x" * 8 * SMALL_HEAD)
        assert (await answer(reader))[0] == 431


async def test_junk_behind_an_answer_that_has_begun_ends_it_and_is_no_part_of_it() -> None:
    left = asyncio.Event()
    async with connected(left) as (reader, writer):
        writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"begun\r\n"), 60)
        writer.write(b"\0junk\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        await asyncio.wait_for(left.wait(), 60)


async def test_a_client_that_has_sent_another_request_behind_is_missed_too() -> None:
    left = asyncio.Event()
    async with connected(left) as (reader, writer):
        writer.write(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"begun\r\n"), 60)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n\0")
        await asyncio.wait_for(left.wait(), 60)
