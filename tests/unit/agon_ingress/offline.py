"""The whole HTTP application without servers: everything is real, and Kafka is away. A request that is in order gets as
far as it can, which is a 503."""

import asyncio
import json
import random
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI

from agon.messages import ModelCard, now
from agon.stream.heartbeat import Load, WorkerState
from agon.telemetry import Metrics
from agon_ingress.access.allowances import Allowances
from agon_ingress.access.keyring import Keyring
from agon_ingress.app import create_app
from agon_ingress.asking.admission import Admission
from agon_ingress.asking.kafka import Producer
from agon_ingress.asking.registry import Registry
from agon_ingress.asking.repeating import Repeating
from agon_ingress.health import Health
from agon_ingress.house import House
from agon_ingress.settings import IngressSettings


def card(model: str, **fields: Any) -> ModelCard:
    return ModelCard(model=model, digest="sha256:0", backend="scripted", context_length=64, created_at=now(), **fields)


def offline(**changes: Any) -> FastAPI:
    """The application, with a chat model `m` and an embedding model `e` that are served."""
    settings = IngressSettings(**changes)
    app = create_app(settings)
    registry = Registry(settings.topics, settings.keys)
    registry.cards = {
        "m": card("m", tool_format="hermes", reasoning="think"),
        "e": card("e", kinds=("embedding",)),
        "text": card("text"),
    }
    loads = {model: Load(0, 0, 8) for model in registry.cards}
    registry.workers = (WorkerState("w", "1", loads, {}, 0.0),)
    registry.loaded.set()
    health = Health({}, timedelta(seconds=1), timedelta(seconds=1))
    health.problems = {"redis": None, "kafka": None, "postgres": "away"}
    away: Any = SimpleNamespace(open=None, follow=None)
    keyring = Keyring(away, "", open_without=True, patience=timedelta(seconds=5))
    keyring.learn(())
    app.state.house = House(
        settings=settings,
        ingress_id="i",
        redis=away,
        gate=away,
        subscriber=away,
        pool=away,
        producer=Producer("127.0.0.1:1", "i", timedelta(seconds=1), 1024),
        registry=registry,
        health=health,
        admission=Admission(8, 0.8),
        keyring=keyring,
        allowances=Allowances(away, keyring, away, settings.reserved_tokens),
        repeating=Repeating(away, away, settings, "i"),
        metrics=Metrics(),
    )
    return app


@dataclass(frozen=True, slots=True)
class Told:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error; a failure if it is no envelope."""
        told = json.loads(self.body)
        assert set(told) == {"error"}, told
        assert set(told["error"]) == {"message", "type", "param", "code"}, told
        return dict(told["error"])


async def post(app: FastAPI, path: str, body: bytes | dict[str, Any], **headers: str) -> Told:
    """One request, without a socket between."""
    return await ask(app, "POST", path, body, **headers)


async def ask(app: FastAPI, method: str, path: str, body: bytes | dict[str, Any] = b"", **headers: str) -> Told:
    """The same with any method."""
    path, _, query = path.partition("?")
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "app": app,
    }  # fmt: skip
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> Any:
        if parts:
            return parts.pop()
        await asyncio.Event().wait()
        return None

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    head = sent[0]
    told = {name.decode(): value.decode() for name, value in head["headers"]}
    return Told(head["status"], told, b"".join(message.get("body", b"") for message in sent[1:]))


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BODIES: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "42"},
            ],
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "logit_bias": {"5": -1},
            "stop": ["a", "b"],
            "logprobs": True,
            "top_logprobs": 2,
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
            "metadata": {"a": "b"},
            "stream": True,
            "stream_options": {"include_usage": True},
            "n": 2,
            "seed": 5,
        },
    ],
    "/v1/completions": [
        {"model": "m", "prompt": ["a", "b"], "n": 2, "best_of": 3, "echo": True, "logprobs": 1, "max_tokens": 3},
        {"model": "m", "prompt": [[1, 2], [3]], "guided_regex": "a+"},
    ],
    "/v1/embeddings": [{"model": "e", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 3}],
    "/v1/responses": [
        {
            "model": "m",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "42"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {}}],
            "tool_choice": "auto",
            "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}},
            "reasoning": {"effort": "low"},
            "include": ["message.output_text.logprobs"],
        }
    ],
}
_JUNK: list[Any] = [
    None, True, -1, 0, 1.5, 10**30, 1e308, "", "x" * 300, "\x00", "\ud7ff", "é" * 70, [], {}, [[[]]], [None], {"": ""},
    {"type": "text"}, {"type": "function"}, {"$ref": "#"}, ["a"] * 200, [1] * 10, "auto", "required", "m", "e",
]  # fmt: skip


def malformed(draw: random.Random) -> tuple[str, bytes]:
    """A path and a body that is probably wrong somewhere."""
    path = draw.choice(list(BODIES))
    value = json.loads(json.dumps(draw.choice(BODIES[path])))
    for _ in range(draw.randint(0, 3)):
        _spoil(value, draw)
    data = json.dumps(value).encode()
    if draw.random() < 0.3:
        at, size = draw.randrange(len(data)), draw.randint(0, 8)
        data = data[:at] + draw.randbytes(draw.randint(0, 4)) + data[at + size :]
    return path, data


def _spoil(value: Any, draw: random.Random) -> None:
    """Change something in a JSON value, however deep."""
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw.choice(keys)
        inner = place[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.7:
            place = inner
            continue
        match draw.randrange(3):
            case 0 if isinstance(place, dict):
                del place[key]
            case 1 if isinstance(place, dict):
                place[draw.choice(["zebra", "user", "audio", "suffix", "store", "type", "n"])] = json.loads(
                    json.dumps(draw.choice(_JUNK))
                )
            case _:
                place[key] = json.loads(json.dumps(draw.choice(_JUNK)))
        return
