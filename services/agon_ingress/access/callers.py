"""Who asks: the caller that every request has, and the door where it is told who that is."""

from dataclasses import dataclass

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from agon.api_keys import ApiKey

FOR_ALL = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
"""Paths that never ask for a key: they tell nothing about anybody."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, with its key; without one where none is asked for."""

    tenant: str = "default"
    """Whose the request is: everything that it makes carries this name, and it finds nothing of anybody else."""
    key: ApiKey | None = None

    def may_ask(self, model: str) -> bool:
        return self.key is None or self.key.may_ask(model)

    def check_model(self, model: str) -> None:
        """Raises `Forbidden` for a model that this key is not for."""
        if self.key is not None:
            self.key.check_model(model)


ANYBODY = Caller()


class Door:
    """ASGI middleware, in front of every route, known or not: the one place that asks for keys."""

    def __init__(self, app: ASGIApp, *, public_arena: bool) -> None:
        self._app = app
        self._public_arena = public_arena

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["caller"] = self._caller(scope)
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller:
        path: str = scope["path"]
        if path in FOR_ALL:
            return ANYBODY
        given = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if given is None and self._public_arena and path.startswith("/arena/"):
            return ANYBODY
        caller: Caller = scope["app"].state.house.keyring.caller(given, path)
        return caller


def caller_of(request: Request) -> Caller:
    """Who sent this request."""
    caller: Caller = request.state.caller
    return caller
