"""A line of a batch on its way to the workers, and what became of it as a line of an output file: the same types,
checks and mapping as HTTP's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

import orjson

from agon.errors import AgonError, InvalidRequest
from agon.messages import GenerationCompleted, GenerationRequest
from agon.store.batch_lines import Ended, Line
from agon_ingress.asking.endpoint import Ask, Endpoint
from agon_ingress.asking.retelling import retell
from agon_ingress.bodies.fields import read
from agon_ingress.bodies.limits import check, refuse_too_many
from agon_ingress.bodies.policy import Asked
from agon_ingress.house import House
from agon_ingress.http.errors import envelope, unknown_model

A = TypeVar("A", bound=Asked)

UNDONE = {
    "expired": ("batch_expired", "The request was not done before the completion window ended."),
    "cancelled": ("batch_cancelled", "The batch was cancelled before the request was done."),
}
"""What is told about a line without an answer, by how its batch ended."""
_STOPPED = ("cancelled", "expired")


@dataclass(frozen=True, slots=True)
class Work(Generic[A]):
    """A line as its endpoint reads it."""

    asked: A
    ask: Ask
    requests: Sequence[GenerationRequest]

    @property
    def keep_text(self) -> bool:
        """Whether its client wants the text kept, besides the batch's output."""
        return bool(getattr(self.asked, "store", False))


@dataclass(frozen=True, slots=True)
class Output:
    """A line of an output file; `well` says of which of the two."""

    data: bytes
    well: bool


class Lines(Generic[A]):
    """The lines of one batch."""

    def __init__(self, house: House, endpoint: Endpoint[A], batch_id: str, tenant: str, deadline: datetime) -> None:
        self.endpoint = endpoint
        self._house = house
        self._batch_id = batch_id
        self._tenant = tenant
        self._deadline = deadline

    async def work(self, line: Line) -> Work[A]:
        """What to ask the workers: the same whenever it is asked. Raises what HTTP would answer."""
        asked, ask = self.read(line)
        if asked.streams:
            raise InvalidRequest("stream: a batch has no streams", param="stream", code="invalid_value")
        ask = await self.endpoint.recall(asked, ask, self._house)
        changes = {"priority": "batch", "detached": True, "store": True}
        requests = [one.model_copy(update=changes) for one in self.endpoint.generations(asked, ask)]
        return Work(asked, ask, requests)

    def read(self, line: Line) -> tuple[A, Ask]:
        """The body as its endpoint reads it."""
        settings = self._house.settings
        raw = orjson.loads(line.body)
        refuse_too_many(raw, settings)
        asked, _ = read(self.endpoint.asks, raw)
        check(asked, settings)
        model: str = asked.model  # type: ignore[attr-defined]  # every request to a model names one
        card = self._house.registry.cards.get(model)
        if card is None:
            raise unknown_model(model)
        return asked, self.endpoint.ask_about(card, self._name(line), self._tenant, self._deadline, settings)

    async def keep(self, work: Work[A]) -> None:
        """Write down what its client wants kept, besides the batch's output."""
        if (keeping := self.endpoint.keep(work.asked, work.ask, self._house)) is not None:
            await keeping

    def output(self, ended: Ended, undone: str | None) -> Output:
        """What became of a line; `undone` is how its batch ended, where that left lines without an answer."""
        if ended.refusal is not None:
            return self._told(ended.line, ended.refusal["status"], ended.refusal["body"])
        completions = [one for one in ended.completions if one is not None]
        stopped = not completions or any(one is None or one.status in _STOPPED for one in ended.completions)
        if undone is not None and stopped:
            code, message = UNDONE[undone]
            return self._told(ended.line, None, {"code": code, "message": message})
        try:
            body = self._answer(ended.line, completions)
        except AgonError as error:
            return self._told(ended.line, error.status, orjson.loads(envelope(error)))
        return self._told(ended.line, 200, body)

    def _answer(self, line: Line, completions: Sequence[GenerationCompleted]) -> Any:
        asked, ask = self.read(line)
        began = min(one.timings.accepted_at for one in completions)
        whole = self.endpoint.whole(asked, replace(ask, head=replace(ask.head, created=int(began.timestamp()))))
        told = retell(whole, completions, len(completions[0].choices), self.endpoint.renamed)
        return orjson.loads(told.model_dump_json(by_alias=True))

    def _told(self, line: Line, status: int | None, body: Any) -> Output:
        response = None if status is None else {"status_code": status, "request_id": self._name(line), "body": body}
        told = {
            "id": f"batch_req_{self._name(line).removeprefix('batch_')}",
            "custom_id": line.custom_id,
            "response": response,
            "error": body if status is None else None,
        }
        return Output(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE), status == 200)

    def _name(self, line: Line) -> str:
        return f"{self._batch_id}-{line.line}"


def refusal(error: AgonError) -> dict[str, Any]:
    """What a line keeps of an error that HTTP would have answered at once."""
    return {"status": error.status, "body": orjson.loads(envelope(error))}
