"""uvicorn, with our signals and our sockets."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agon.errors import InvalidRequest, SetupError
from agon_ingress.http.errors import envelope

SMALL_HEAD = 64 * 1024  # bytes; for the small apps beside the main one
LINGER_SECONDS = 1.0


class Joining:
    """A transport that sends a head together with what is written right behind it: uvicorn writes them one after the
    other, which is two system calls, and wakes the client for a head that tells it nothing."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
            return
        self._transport.write(data)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():  # the client may have left meanwhile
            self._transport.write(head)


class Protocol(HttpToolsProtocol):
    """uvicorn's, with a limit to a request's head, which it has not; and what it calls no HTTP, it is told so in the
    envelope that every error has."""

    most_head_bytes = SMALL_HEAD
    _head_bytes = 0
    _in_head = True
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Joining(transport))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.most_head_bytes + len(data):
                told = f"the head is above {self.most_head_bytes:,} bytes"
                self._refuse(431, "Request Header Fields Too Large", told)
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", msg)

    def _refuse(self, status: int, reason: str, message: str) -> None:
        body = envelope(InvalidRequest(message, code="invalid_http"))
        head = (
            f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: req_{uuid.uuid4().hex}\r\nx-should-retry: false\r\nconnection: close\r\n\r\n"
        )
        self._refused = True
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        # Closed at once, with data of the client unread, it would be reset, and the client would see no answer.
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


class Server(uvicorn.Server):
    """Leaves signals to `main`: uvicorn's own handling would end the process by the signal instead of with exit 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `SetupError` when the port is taken or the host is none of this machine's."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise SetupError(f"can't listen on {host}:{port}: {error.strerror or error}. Choose another port.") from error


def make_server(app: ASGIApp, drain: timedelta, most_head_bytes: int = SMALL_HEAD, *, lifespan: bool) -> Server:
    """A server for an app; a request with a larger head is answered 431."""
    protocol = type("LimitedProtocol", (Protocol,), {"most_head_bytes": most_head_bytes})
    return Server(
        uvicorn.Config(
            app,
            loop="none",
            http=protocol,
            ws="none",
            lifespan="on" if lifespan else "off",
            access_log=False,
            proxy_headers=False,  # nothing here asks who the client of a proxy is
            log_config=None,
            log_level="error",  # a client that sends junk is no news
            server_header=False,
            timeout_graceful_shutdown=max(1, round(drain.total_seconds())),
        )
    )


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, sock: socket.socket) -> AsyncIterator[None]:
    """Serve a small app beside the main one."""
    server = make_server(app, timedelta(seconds=1), lifespan=False)
    task = asyncio.create_task(server.serve([sock]), name="internal-http")
    try:
        yield
    finally:
        server.should_exit = True
        await task
