"""What an endpoint of `/v1` that asks a model is made of. One description serves HTTP, batches, `openapi.json` and
`docs/api.md`; all of it but `respond` is pure."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from agon.messages import GenerationRequest, ModelCard, now
from agon_ingress.access.allowances import UNLIMITED
from agon_ingress.access.callers import Caller, caller_of
from agon_ingress.asking.answers import Order, StreamedAnswer, WholeAnswer
from agon_ingress.asking.repeating import Repeatable
from agon_ingress.asking.telling import Head, Streamed, Whole
from agon_ingress.bodies.policy import Asked
from agon_ingress.bodies.receiving import receive
from agon_ingress.house import House
from agon_ingress.responses.items import Item, Items
from agon_ingress.settings import IngressSettings

SCRIPT_HEADER, SCRIPT_KEY = "x-agon-script", "agon-script"

A = TypeVar("A", bound=Asked)


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, as whom it is known, and how long it may take."""

    head: Head
    tenant: str
    deadline: datetime
    card: ModelCard
    settings: IngressSettings
    began: datetime = field(default_factory=now)
    earlier: Items = ()
    """What was said before, where the request goes on from something that is kept."""
    found: Mapping[str, Item] = field(default_factory=dict)
    """Items that the request names instead of sending them, by their ids."""

    def name(self, index: int, count: int) -> str:
        """The id of one of the requests that an answer needs."""
        return self.head.id if count == 1 else f"{self.head.id}-{index}"


async def _nothing_earlier(asked: Asked, ask: Ask, house: House) -> Ask:
    """Most requests have all that they need."""
    return ask


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[A]):
    """`generations` are the requests for the workers, and raises `InvalidRequest` for what this model can't do; `whole`
    and `streamed` make the answer of what they tell, and raise nothing."""

    path: str
    prefix: str
    """Of the answer's id."""
    asks: type[A]
    gives: type[BaseModel]
    event: type[BaseModel] | None
    """What a stream is made of."""
    about: str
    generations: Callable[[A, Ask], Sequence[GenerationRequest]]
    whole: Callable[[A, Ask], Whole]
    streamed: Callable[[A, Ask], Streamed] | None
    """None where there are no streams."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Fields that the workers know by another name: theirs, and this endpoint's."""
    conversation: Callable[[A], str | None] = lambda _: None
    """Requests with the same go to the same worker."""
    recall: Callable[[A, Ask, House], Awaitable[Ask]] = _nothing_earlier
    """Read what the request goes on from. Raises `InvalidRequest` for what is not there."""
    keep: Callable[[A, Ask, House], Coroutine[Any, Any, None] | None] = lambda *_: None
    """Writes down what was asked, where the client wants it kept: done before anything of the answer goes out."""
    apart: Callable[[A, Ask, Order, House], Awaitable[Response]] | None = None
    """Send what the client does not wait for, settle it, and answer."""

    def ask(self, model: str, name: str, tenant: str, deadline: datetime, house: House) -> Ask:
        """Raises `ModelNotFound` or `ModelNotServed`."""
        return self.ask_about(house.registry.check(model), name, tenant, deadline, house.settings)

    def ask_about(self, card: ModelCard, name: str, tenant: str, deadline: datetime, settings: IngressSettings) -> Ask:
        """For a model whether or not it is served right now."""
        fingerprint = f"fp_{card.digest.removeprefix('sha256:')[:12]}"
        began = now()
        head = Head(f"{self.prefix}{name}", int(began.timestamp()), card.model, fingerprint)
        return Ask(head, tenant, deadline, card, settings, began)

    async def respond(self, request: Request) -> Response:
        """Answer an HTTP request."""
        house: House = request.app.state.house
        asked, headers, patience = await receive(request, self.asks, house.settings)
        house.health.require("redis", "kafka")
        model: str = asked.model  # type: ignore[attr-defined]  # every request to a model names one
        caller = caller_of(request)
        caller.check_model(model)
        ask = self.ask(model, request.state.request_id, caller.tenant, now() + patience, house)
        ask = await self.recall(asked, ask, house)
        until, script = ask.deadline, request.headers.get(SCRIPT_HEADER)
        generations = self._commands(asked, ask, script)
        repeatable = await house.repeating.promised(request, self.path, ask.began, ask.deadline)
        if repeatable is not None:
            ask = self._as_promised(ask, repeatable)
            generations = [repeatable.pinned(one) for one in self._commands(asked, ask, script)]
            headers |= repeatable.headers
        order = Order(
            generations, self.conversation(asked), headers, until, repeatable=repeatable, renamed=self.renamed
        )
        order = await self._take_on(order, caller, asked, ask, house, len(await request.body()))
        if asked.apart and self.apart is not None:
            return await self.apart(asked, ask, order, house)
        # How it is told is made once it is on its way: that is for the client, and the workers need not wait for it.
        if asked.streams and self.streamed is not None:
            return StreamedAnswer(house, order, partial(self.streamed, asked, ask))
        return WholeAnswer(house, order, partial(self.whole, asked, ask))

    def _commands(self, asked: A, ask: Ask, script: str | None) -> Sequence[GenerationRequest]:
        """In test mode a script goes with them."""
        generations = self.generations(asked, ask)
        if script is None or not ask.settings.test_mode:
            return generations
        return [one.model_copy(update={"metadata": {**one.metadata, SCRIPT_KEY: script}}) for one in generations]

    def _as_promised(self, ask: Ask, repeatable: Repeatable) -> Ask:
        """The same, as it was asked first."""
        created = int(repeatable.began.timestamp())
        head = replace(ask.head, id=f"{self.prefix}{repeatable.promise.name}", created=created)
        return replace(ask, head=head, began=repeatable.began, deadline=repeatable.deadline)

    async def _take_on(self, order: Order, caller: Caller, asked: A, ask: Ask, house: House, size: int) -> Order:
        """What comes before anything goes out: reserve what it may need, and keep what is to be kept.

        Where only this connection will ever ask for it, it is kept while the workers are at it."""
        allowance, repeatable, keeping = UNLIMITED, order.repeatable, None
        try:
            again = repeatable is not None and not repeatable.first
            allowance = await house.allowances.reserve(caller, order.requests, size, ask.card, found_again=again)
            if not again:
                keeping = self.keep(asked, ask, house)
            if keeping is not None and (asked.apart or repeatable is not None):
                await keeping
                keeping = None
        except BaseException:
            allowance.settle(0)
            if repeatable is not None and repeatable.first:
                await house.repeating.withdraw(repeatable)
            raise
        headers = {**order.headers, **allowance.headers}
        return replace(order, headers=headers, allowance=allowance, keeping=keeping)
