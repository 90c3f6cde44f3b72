"""The running ingress, as the command line talks to it: plain HTTP from the standard library, with the API key in
AGON_API_KEY where there is one."""

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from agon.errors import AgonError, SetupError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 600.0
_KEY_WANTED = "(Commands take it from AGON_API_KEY; `agon keys create` makes one.)"


def get(url: str, path: str) -> Any:
    """The JSON that a path answers with. Raises `SetupError` when nobody is there, `AgonError` for an error answer."""
    with _ask(url, "GET", path) as response:
        return _json(response.read(), url)


def post(url: str, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[Any, str | None]:
    """The JSON that a POST is answered with, and the cookie that came with it, as it is to be sent back. Raises like
    `get`."""
    with _ask(url, "POST", path, json.dumps(body).encode(), headers) as response:
        cookie = response.headers.get("set-cookie")
        return _json(response.read(), url), cookie.partition(";")[0] if cookie else None


def events(url: str, path: str) -> Iterator[tuple[str, Any]]:
    """Name and data of each server-sent event, until the server ends the stream. Raises like `get`."""
    name = "message"
    with _ask(url, "GET", path) as response:
        while line := response.readline():
            if line.startswith(b"event: "):
                name = line[len(b"event: ") :].strip().decode()
            elif line.startswith(b"data: "):
                yield name, _json(line[len(b"data: ") :], url)
                name = "message"


def stream(url: str, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """POST, and yield the events of the answer as they come. Leaving early closes the connection, which stops the
    server's work. Raises like `get`, also for an error that comes after the first token."""
    with _ask(url, "POST", path, json.dumps(body).encode()) as response:
        while line := response.readline():
            if not line.startswith(b"data: "):
                continue  # a comment, which only keeps the connection alive, or the blank line between events
            data = line[len(b"data: ") :].strip()
            if data == b"[DONE]":
                return
            event = _json(data, url)
            if error := event.get("error"):
                raise _error(error)
            yield event
    raise AgonError(f"{url} closed the connection before the answer was complete")


@contextmanager
def _ask(
    url: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=CONNECT_SECONDS)
    except ValueError:
        raise SetupError(f"`{url}` is no URL: write it like http://127.0.0.1:8000") from None
    with closing(connection):
        try:
            connection.connect()
            connection.sock.settimeout(ANSWER_SECONDS)
            key = os.environ.get("AGON_API_KEY")
            bearer = {"authorization": f"Bearer {key}"} if key else {}
            sent = {"content-type": "application/json", **bearer, **(headers or {})}
            connection.request(method, parts.path.rstrip("/") + path, body, sent)
            response = connection.getresponse()
            if response.status >= 400:
                error = _error(_json(response.read(), url).get("error", {}))
                raise SetupError(f"{error} {_KEY_WANTED}") if response.status == 401 else error
            yield response
        except (OSError, http.client.HTTPException) as error:
            told = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise SetupError(f"no answer from {url}: {told}. Is it running? `agon up` starts it.") from error


def _json(data: bytes, url: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise SetupError(f"{url} answers, but it is not agon: it sent no JSON") from None


def _error(told: dict[str, Any]) -> AgonError:
    return AgonError(
        str(told.get("message") or "the server reported an error without a message"), code=told.get("code")
    )
