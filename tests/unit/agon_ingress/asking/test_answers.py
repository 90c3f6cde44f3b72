"""An answer and what it was asked from: on its way to the workers and to the database at the same time."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from agon.errors import NotFound
from agon.messages import GenerationRequest, now
from agon.stream.frames import Delta, End, Frame, decode, encode
from agon_ingress.asking.answers import Order, WholeAnswer
from agon_ingress.asking.generation import Generation
from agon_ingress.asking.telling import Head, Speech
from agon_ingress.chat.telling import WholeChat
from agon_ingress.settings import IngressSettings

REQUEST = GenerationRequest(request_id="r1", model="m", kind="completion", prompt="x")


def frames() -> list[Frame]:
    bodies = (Delta((1,), "Hello", "stop"), End("finished", 1, 1, 0, 0.0))
    return [decode(encode("default/r1", 1, 0, 0, body)) for body in bodies]


class Answering:
    """An answer to a client that stays, whose worker says `frames` once `worker` is set."""

    def __init__(self, keeping: Coroutine[Any, Any, None] | None) -> None:
        self.worker = asyncio.Event()
        self.abandoned: list[GenerationRequest] = []
        self.sent: list[dict[str, Any]] = []
        order = Order([REQUEST], None, {"x-told": "yes"}, now() + timedelta(seconds=30), keeping=keeping)
        house: Any = SimpleNamespace(submit=self._submit, settings=IngressSettings())
        self._answer = WholeAnswer(house, order, lambda: WholeChat(Head("c1", 1, "m", "fp"), Speech(), 1))

    async def run(self) -> None:
        scope: dict[str, Any] = {"type": "http"}
        await self._answer(scope, self._stay, self._send)

    async def _submit(self, request: GenerationRequest, conversation: str | None) -> Generation:
        stream: Any = SimpleNamespace(take=self._take, close=self._close, ended=False)
        return Generation(request, stream, self._abandon, lambda: None)

    async def _take(self, patience: float) -> list[Frame]:
        await self.worker.wait()
        return frames()

    async def _abandon(self, request: GenerationRequest) -> None:
        self.abandoned.append(request)

    async def _stay(self) -> Any:
        await asyncio.Event().wait()

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def _close(self) -> None:
        """There is nothing to give back."""


async def test_nothing_is_answered_before_what_was_asked_is_kept() -> None:
    kept = asyncio.Event()

    async def keep() -> None:
        await kept.wait()

    answering = Answering(keep())
    answering.worker.set()
    running = asyncio.create_task(answering.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert answering.sent == []
    kept.set()
    await running
    assert [message["type"] for message in answering.sent] == ["http.response.start", "http.response.body"]
    assert answering.abandoned == []


async def test_what_cannot_be_kept_is_an_error_and_its_engine_stops() -> None:
    async def keep() -> None:
        raise NotFound("No conversation found.")

    answering = Answering(keep())
    with pytest.raises(NotFound) as caught:
        await answering.run()
    assert (answering.sent, answering.abandoned) == ([], [REQUEST])
    assert caught.value.headers == {"x-told": "yes"}, "such as what is left of the key's limits"


async def test_a_request_that_cannot_be_sent_is_not_kept_either() -> None:
    keeping = asyncio.Event()
    stopped = asyncio.Event()

    async def keep() -> None:
        try:
            keeping.set()
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def refuse(request: GenerationRequest, conversation: str | None) -> Generation:
        await keeping.wait()
        raise NotFound("no such model")

    answering = Answering(keep())
    answering._answer._house.submit = refuse  # type: ignore[method-assign]
    with pytest.raises(NotFound):
        await answering.run()
    assert stopped.is_set()
