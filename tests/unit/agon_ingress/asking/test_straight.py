"""Requests that ask a model go past the router, and are answered as if they had not."""

from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from agon_ingress.asking.straight import Straight
from unit.agon_ingress.offline import offline, post


class Endpoint:
    path = "/v1/chat/completions"

    async def respond(self, request: Any) -> PlainTextResponse:
        return PlainTextResponse("straight")


async def asked(method: str, path: str) -> tuple[bytes, dict[str, Any]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    endpoint: Any = Endpoint()
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": []}
    await Straight(PlainTextResponse("router"), endpoints=[endpoint])(scope, receive, send)
    return sent[1]["body"], scope


async def test_a_request_to_a_model_goes_straight_to_its_endpoint_whose_path_metrics_go_by() -> None:
    body, scope = await asked("POST", Endpoint.path)
    assert body == b"straight"
    assert scope["route"].path == Endpoint.path


@pytest.mark.parametrize(
    ("method", "path"), [("GET", Endpoint.path), ("POST", "/v1/models"), ("POST", f"{Endpoint.path}/")]
)
async def test_all_else_takes_the_router(method: str, path: str) -> None:
    body, _ = await asked(method, path)
    assert body == b"router"


async def test_an_error_on_the_way_is_an_envelope_with_the_ids_of_its_request() -> None:
    told = await post(offline(), "/v1/chat/completions", {"model": "nobody", "messages": []})
    assert (told.status, told.error["code"]) == (400, "empty_array")
    told = await post(offline(), "/v1/embeddings", {"model": "nobody", "input": "Hi"})
    assert (told.status, told.error["code"]) == (404, "model_not_found")
    assert told.headers["x-request-id"].startswith("req_")
