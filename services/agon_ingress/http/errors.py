"""Errors as HTTP answers: always OpenAI's envelope `{"error": {"message", "type", "param", "code"}}`."""

import logging
import math
from collections.abc import Iterable, Mapping
from datetime import timedelta

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import ValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from agon.errors import (
    AgonError,
    GenerationError,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    Unavailable,
)
from agon.stream.frames import End
from agon_ingress.http.findings import invalid

log = logging.getLogger(__name__)


def envelope(error: AgonError) -> bytes:
    """The JSON body of an error answer, and the data of an SSE `error` event."""
    return orjson.dumps({"error": error.body()})


def retry_headers(error: AgonError) -> dict[str, str]:
    """What a client's retry loop goes by. Repeating a request that already ran would run it twice: hence `false`."""
    if error.retry_after is None:
        return {"x-should-retry": "false"} | ({"www-authenticate": "Bearer"} if error.status == 401 else {})
    wait = error.retry_after / timedelta(milliseconds=1)
    return {"x-should-retry": "true", "retry-after-ms": f"{wait:.0f}", "retry-after": f"{math.ceil(wait / 1000)}"}


def error_response(error: AgonError, headers: dict[str, str] | None = None) -> Response:
    """The whole HTTP answer for an error. It leaves the connection open, also where a body was not taken in: closing it
    while the client sends would reset it, and the client would not see the answer."""
    told = retry_headers(error) | dict(error.headers or {}) | (headers or {})
    return Response(envelope(error), error.status, told, media_type="application/json")


def unknown_model(name: str) -> ModelNotFound:
    """What is told about a model that is not registered."""
    return ModelNotFound(f"The model `{name[:200]}` does not exist. GET /v1/models lists those that do.", param="model")


def _family(root: type[AgonError]) -> Iterable[type[AgonError]]:
    yield root
    for child in root.__subclasses__():
        yield from _family(child)


_BY_CODE = {kind.code: kind for kind in _family(AgonError) if kind.code is not None}


def from_end(end: End, renamed: Mapping[str, str] = {}) -> AgonError:
    """The error that a worker wrote into a `final` frame: the class by its code, else by its type. `renamed` are names
    of fields that the worker knows, and those that the client gave them."""
    kind = _BY_CODE.get(end.error_code or "")
    if kind is None:
        kind = InvalidRequest if end.error_type == InvalidRequest.type else GenerationError
    param = renamed.get(end.error_param or "", end.error_param)
    error = kind(end.error_message or f"the request ended as {end.status}", param=param, code=end.error_code)
    error.type = end.error_type or kind.type
    return error


def from_exception(error: Exception) -> AgonError:
    """What a client is told about any exception. Those that nobody expected are logged, and told as nothing but 500."""
    if isinstance(error, HTTPException) and isinstance(error.__cause__, AgonError):
        return error.__cause__  # FastAPI wraps what reading the body raised
    match error:
        case AgonError():
            return error
        case RequestValidationError():
            return invalid([{**one, "loc": _without_query(one["loc"])} for one in error.errors()])
        case ValidationError():
            return invalid(error.errors())
        case HTTPException(status_code=404):
            return NotFound("There is nothing at this path. GET / names what there is.")
        case HTTPException(status_code=405):
            return MethodNotAllowed("This path does not take this method.")
        case HTTPException(status_code=status) if status < 500:
            told = InvalidRequest(str(error.detail))
            told.status = status
            return told
        case RedisError():
            return Unavailable("Redis is away. Try again shortly.")
        case asyncpg.PostgresConnectionError() | asyncpg.InterfaceError() | ConnectionError() | TimeoutError():
            return Unavailable("a database is away. Try again shortly.")
    log.error("unexpected error", exc_info=error)
    return AgonError(
        "Something went wrong on our side; the log has it under this answer's x-request-id.", code="internal"
    )


def _without_query(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A place as the client wrote it; FastAPI begins with where it was looking."""
    return location[1:] if location[:1] == ("query",) else location


async def _answer(request: Request, error: Exception) -> Response:
    told = from_exception(error)
    return error_response(told, {"allow": _allowed(request)} if told.status == 405 else None)


def _allowed(request: Request) -> str:
    """The methods of all routes at this path: each of them knows only its own."""
    routes = iter_route_contexts(request.app.routes)
    here = (route.methods for route in routes if route.path_regex.match(request.scope["path"]))
    methods = {method for some in here for method in some or ()}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def install(app: FastAPI) -> None:
    """Every error that a route raises becomes an envelope. What is raised outside of routes, `edge` turns into one."""
    for kind in (
        AgonError,
        RequestValidationError,
        ValidationError,
        HTTPException,
        RedisError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        ConnectionError,
        TimeoutError,
    ):
        app.add_exception_handler(kind, _answer)
