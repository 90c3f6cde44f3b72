"""uvicorn, with our signals and our sockets."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import uvicorn
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from agon.errors import InvalidRequest, SetupError
from agon_ingress.http.errors import envelope

SMALL_HEAD = 64 * 1024  # bytes; for the small apps beside the main one
LINGER_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than clients and proxies keep theirs (httpx 5 s, load balancers and
nginx 60 s). Who keeps one longer sends a request into a connection that is being closed, and is not answered."""


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
    """uvicorn's, with a limit to a request's head, which it has not; what it calls no HTTP, it is told so in the
    envelope that every error has; and who asks for another protocol, such as HTTP/2, is answered in this one."""

    most_head_bytes = SMALL_HEAD
    _head_bytes = 0  # received so far, with what came in one piece with it
    _in_head = True
    _refused = False

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._under_way: list[RequestResponseCycle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Joining(transport))  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()  # uvicorn tells the last request only
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.most_head_bytes + len(data):
                self._refuse_head()
                return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.most_head_bytes:
            self._refuse_head()
            raise ValueError("refused")  # stops the parser
        if self.parser.should_upgrade():
            return  # `_stay` comes back
        super().on_headers_complete()
        self._under_way = [cycle for cycle in self._under_way if not cycle.response_complete]
        self._under_way.append(self.cycle)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Bad Request", msg)

    def _stay(self, rest: bytes) -> None:
        """Read a request anew that asks for another protocol, as if it did not: the parser passes over its body.

        Java's HTTP client asks for HTTP/2 with every first request, unless it is told not to."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("CONNECT is for proxies.")
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%b: %b\r\n" % each for each in self.headers if each[0] not in (b"upgrade", b"http2-settings")]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(lines)) + rest)

    def _leave(self) -> None:
        """Whatever is under way here has lost its client."""
        for cycle in self._under_way:
            cycle.disconnected = not cycle.response_complete
            cycle.message_event.set()

    def _refuse_head(self) -> None:
        self._refuse(431, "Request Header Fields Too Large", f"the head is above {self.most_head_bytes:,} bytes")

    def _refuse(self, status: int, reason: str, message: str) -> None:
        if self._refused:
            return
        self._refused = True
        self._leave()
        if any(cycle.response_started and not cycle.response_complete for cycle in self._under_way):
            self.transport.close()  # amid an answer there is no place for another one
            return
        body = envelope(InvalidRequest(message, code="invalid_http"))
        head = (
            f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: req_{uuid.uuid4().hex}\r\nx-should-retry: false\r\nconnection: close\r\n\r\n"
        )
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
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
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
