"""The outermost layer of the HTTP server: request ids, the body limit, HEAD, and no exception without an answer."""

import contextlib
import logging
import re
import time
import uuid
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agon.errors import InvalidRequest, TooLarge
from agon.telemetry import Metrics
from agon_ingress.http.errors import error_response, from_exception

log = logging.getLogger(__name__)

OPENAI_VERSION = "2020-10-01"
CLIENT_REQUEST_ID = re.compile(rb"^[\x21-\x7e]{1,512}$")


class Edge:
    """ASGI middleware. A route finds the id of its request as `request.state.request_id` (32 hex digits); clients get
    it as `x-request-id: req_...`, beside their own `x-client-request-id` if they sent one.

    A body has at most `max_body_bytes`, unless its path is one of the `larger`. HEAD gets the head of GET."""

    def __init__(
        self, app: ASGIApp, *, max_body_bytes: int, metrics: Metrics, larger: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._larger = larger or {}
        self._requests = metrics.counter("http_requests")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        given = dict(scope["headers"])
        method = scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        most = self._larger.get(scope["path"], self._max_body_bytes)
        status = 0
        taken = 0

        async def counted_receive() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _too_large(most)
            return message

        async def named_send(message: Message) -> None:
            nonlocal status
            if method == "HEAD" and message["type"] == "http.response.body":
                await send({"type": "http.response.body"})
                raise ClientDisconnect  # who makes the body, perhaps for ever, need not
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [
                    (b"x-request-id", b"req_" + request_id.encode()),
                    (b"openai-version", OPENAI_VERSION.encode()),
                    (b"openai-processing-ms", b"%d" % ((time.perf_counter() - began) * 1000)),
                ]
                theirs = given.get(b"x-client-request-id", b"")
                if CLIENT_REQUEST_ID.match(theirs):
                    extra.append((b"x-client-request-id", theirs))
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        try:
            if _declared_length(given) > most:
                raise _too_large(most)
            _refuse_encoding(given)
            await self._app(scope, counted_receive, named_send)
        except ClientDisconnect:
            log.debug("req_%s: the client left while it was sending", request_id)
        except Exception as error:
            if status:
                log.exception("req_%s broke after its answer had begun", request_id)
            else:
                with contextlib.suppress(ClientDisconnect):
                    await error_response(from_exception(error))(scope, receive, named_send)
        finally:
            self._requests.labels(_counted(method), _route(scope), status or 499).inc()


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body is larger than {most:,} bytes, which is the most.")


def _declared_length(headers: dict[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() else 0


def _refuse_encoding(headers: dict[bytes, bytes]) -> None:
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in (b"", b"identity"):
        told = f"bodies with content-encoding `{encoding[:50].decode('latin-1')}` are not taken: send them as they are"
        error = InvalidRequest(told, code="unsupported_media_type")
        error.status = 415
        raise error


def _counted(method: str) -> str:
    """Bounded: a client can make up methods, but not label values."""
    return method if method in {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"} else "other"


def _route(scope: Scope) -> str:
    """The route's template (`/v1/models/{model:path}`), never the path."""
    return getattr(scope.get("route"), "path", "none")
