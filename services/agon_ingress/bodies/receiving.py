"""What comes with every request to a model: its body, read as a type, and how long its client will wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from fastapi import Request

from agon.errors import InvalidRequest
from agon_ingress.access.callers import caller_of
from agon_ingress.bodies.fields import ignored_header, read, read_object
from agon_ingress.bodies.limits import check, refuse_too_many
from agon_ingress.bodies.policy import Asked
from agon_ingress.settings import IngressSettings

TIMEOUT_HEADER = "x-timeout-ms"

A = TypeVar("A", bound=Asked)
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Received(NamedTuple, Generic[A]):
    """`headers` belong on the answer."""

    asked: A
    headers: dict[str, str]
    patience: timedelta


def takes(kind: type[Asked]) -> Callable[[Handler], Handler]:
    """Marks a route that reads its body by itself, for `openapi.json`."""

    def marked(handler: Handler) -> Handler:
        handler.takes = kind  # type: ignore[attr-defined]
        return handler

    return marked


async def receive(request: Request, kind: type[A], settings: IngressSettings) -> Received[A]:
    """Read a request. Raises `InvalidRequest`, `UnsupportedParameter` or `TooLarge`."""
    raw = read_object(kind, await body(request, settings.body_timeout), request.headers.get("content-type"))
    refuse_too_many(raw, settings)
    asked, ignored = read(kind, raw)
    check(asked, settings)
    limit = patience(request.headers.get(TIMEOUT_HEADER), settings.default_deadline, settings.longest_deadline)
    return Received(asked, ignored_header(ignored), limit)


async def body(request: Request, patience: timedelta) -> bytes:
    """The whole body. Raises `InvalidRequest` (408) for a client that stops sending half-way."""
    async with in_time(patience):
        return await request.body()


@asynccontextmanager
async def in_time(patience: timedelta) -> AsyncIterator[None]:
    """For reading a body. Raises `InvalidRequest` (408) when it takes longer."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            yield
    except TimeoutError:
        error = InvalidRequest(f"the body was not complete within {patience.total_seconds():g} s", code="body_timeout")
        error.status = 408
        raise error from None


def patience(given: str | None, default: timedelta, longest: timedelta) -> timedelta:
    """How long the client wants to wait: the header `x-timeout-ms`, within what the server allows."""
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and int(given[:19]) > 0):
        told = f"the header {TIMEOUT_HEADER} must be a positive number of milliseconds, not `{given[:50]}`"
        raise InvalidRequest(told, param=TIMEOUT_HEADER, code="invalid_value")
    return min(timedelta(milliseconds=min(int(given[:19]), 10**12)), longest)


def tenant_of(request: Request) -> str:
    """Whose request this is: everything that it makes carries this name."""
    return caller_of(request).tenant
