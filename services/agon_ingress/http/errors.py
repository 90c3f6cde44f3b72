"""Errors as HTTP answers: always OpenAI's envelope `{"error": {"message", "type", "param", "code"}}`."""

import logging
import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

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


def param_path(location: Iterable[str | int]) -> str | None:
    """`("messages", 0, "content")` as people write it: `messages[0].content`. None for the whole body.

    pydantic also names the member of a union that it tried (`str`, `tuple[TextPart,...]`): no words of the client's.
    """
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier() and step not in {"str", "int", "float", "bool", "body"}:
            path += f".{step}" if path else step
    return path or None


def found_path(location: Sequence[str | int], body: Any, *, missing: bool) -> str | None:
    """The same, held against the body that was wrong: a step that is not in it is a member of a union, unless it is
    the last one of what is missing."""
    path = ""
    for place, step in enumerate(location):
        if isinstance(step, int) and isinstance(body, list) and step < len(body):
            path += f"[{step}]"
            body = body[step]
        elif isinstance(step, str) and isinstance(body, Mapping) and step in body:
            path += f".{step[:64]}" if path else step[:64]
            body = body[step]
        elif missing and place == len(location) - 1:
            path += f".{step}" if path else str(step)
    return path or None


def invalid(errors: Sequence[Any], body: Any = None, known: Container[str] = ()) -> InvalidRequest:
    """pydantic's findings as one error: the first gives `param` and `code`, the message tells up to five. `body` is
    what was read, where that is at hand; `known` are the fields that a finding about several of them may begin with.

    For a union pydantic tells why each member did not fit; of those, what lies deepest is what the client meant.
    """
    for error in errors:
        if error["type"] == "json_invalid":
            return InvalidRequest(f"the body is not valid JSON: {error['ctx']['error']}", code="invalid_json")
        if error["loc"] == ("body",) and error["type"] in ("missing", "model_attributes_type"):
            return InvalidRequest(
                "the body must be a JSON object, sent with the header `content-type: application/json`",
                code="invalid_json",
            )
    at: dict[str, list[Any]] = {}
    for error in map(_of_tag, errors):
        if body is None:
            path = param_path(error["loc"])
        else:
            path = found_path(error["loc"], body, missing=error["type"] in ("missing", "value_error"))
        at.setdefault(path or "", []).append(error)
    found = {path: _union(some) for path, some in at.items()}
    codes = {path: _code(_meant(some)) for path, some in at.items()}
    meant = {path: told for path, told in found.items() if not any(_inside(other, path) for other in found)}
    told = [f"{path}: {message}" if path else message for path, message in meant.items()]
    more = f" (and {len(told) - 5} more)" if len(told) > 5 else ""
    first = next(iter(meant))
    word = meant[first].partition(" ")[0].rstrip(":")
    param = first or (word if word in known else None)
    return InvalidRequest("; ".join(told[:5]) + more, param=param, code=codes[first])


def unknown_model(name: str) -> ModelNotFound:
    """What is told about a model that is not registered."""
    return ModelNotFound(f"The model `{name[:200]}` does not exist. GET /v1/models lists those that do.", param="model")


def _of_tag(error: Any) -> Any:
    """A finding about the field that says which member of a union an object is: at the place of that field."""
    name = error["ctx"]["discriminator"].strip("'") if error["type"].startswith("union_tag") else ""
    if not name.isidentifier():
        return error
    at = {**error, "loc": (*error["loc"], name)}
    if error["type"] == "union_tag_not_found":
        return {**at, "type": "missing", "msg": "Field required"}
    *some, last = error["ctx"]["expected_tags"].split(", ")
    return {**at, "msg": f"Input should be {', '.join(some)} or {last}" if some else f"Input should be {last}"}


def _meant(errors: Sequence[Any]) -> Any:
    """Of the findings at one place, one for each member of a union: that of the member whose type the value has."""
    tags = [error for error in errors if error["type"].startswith("union_tag")]
    return next(iter([*tags, *(error for error in errors if not _of_type(error))]), errors[0])


def _union(errors: Sequence[Any]) -> str:
    """Where the value has the type of no member, all of them are named."""
    if len(errors) == 1 or not all(map(_of_type, errors)):
        return _told(str(_meant(errors)["msg"]))
    begin = "Input should be "
    kinds = dict.fromkeys(_told(str(error["msg"])).removeprefix(begin) for error in errors)
    return begin + " or ".join(kinds)


def _of_type(error: Mapping[str, Any]) -> bool:
    return str(error["type"]).endswith("_type")


_BOUNDS = {
    "greater_than": "below_min_value",
    "greater_than_equal": "below_min_value",
    "less_than": "above_max_value",
    "less_than_equal": "above_max_value",
}
_CODES = {
    "missing": "missing_required_parameter",
    "string_too_short": "empty_string",
    "string_too_long": "string_above_max_length",
    "too_long": "array_above_max_length",
}


def _code(error: Mapping[str, Any]) -> str:
    """OpenAI's word for one of pydantic's findings."""
    kind = error["type"]
    if (bound := _BOUNDS.get(kind)) is not None:
        number = "decimal" if any(isinstance(limit, float) for limit in error["ctx"].values()) else "integer"
        return f"{number}_{bound}"
    if kind == "too_long" and error["ctx"]["field_type"] == "Dictionary":
        return "object_above_max_properties"
    if kind == "too_short" and error["ctx"]["field_type"] == "Tuple":
        return "empty_array"
    if kind.endswith("_type") or kind in ("int_from_float", "int_parsing"):
        return "invalid_type"
    return _CODES.get(kind, "invalid_value")


_NOT_MORE = re.compile(r" after validation, not (more|\d+)$")


def _told(message: str) -> str:
    """pydantic's words without Python's: what it holds in a tuple is a list in JSON."""
    return (
        _NOT_MORE.sub("", message)
        .removeprefix("Value error, ")
        .replace("Dictionary should", "Object should")
        .replace("Tuple should", "List should")
        .replace("valid tuple", "valid list")
    )


def _inside(path: str, outer: str) -> bool:
    return path.startswith((f"{outer}.", f"{outer}[")) if outer else False


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
