"""The two answers of a model, as raw ASGI: whole, or as it comes. If the client leaves, the engine stops."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agon.errors import AgonError, Expired, Unavailable
from agon.messages import GenerationRequest, now
from agon.stream.frames import Admission, Delta, End, Frame, body
from agon_ingress.access.allowances import UNLIMITED, Allowance
from agon_ingress.asking.generation import Generation
from agon_ingress.asking.repeating import Repeatable
from agon_ingress.asking.several import Several
from agon_ingress.asking.telling import Streamed, Whole
from agon_ingress.house import House
from agon_ingress.http import sse
from agon_ingress.http.client import ClientGone, while_connected
from agon_ingress.http.errors import error_response, from_end, from_exception

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What an answer needs to be made: the requests for the workers, and what was agreed about them."""

    requests: Sequence[GenerationRequest]
    conversation: str | None
    """Requests with the same go to the same worker."""
    headers: Mapping[str, str]
    """For the answer's head."""
    until: datetime
    """The client waits no longer."""
    allowance: Allowance = UNLIMITED
    """Settled by the answer."""
    repeatable: Repeatable | None = None
    keeping: Coroutine[Any, Any, None] | None = None
    """Writes down what was asked; done before anything of the answer goes out."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Fields that the workers know by another name: theirs, and the client's."""


class Answer(Response):
    """What both have in common. The requests are submitted inside of the answer, so that one place owns them to their
    end: one request, or one for each of several inputs.

    They have a deadline; some time after it the answer ends even where no worker says so.
    """

    def __init__(self, house: House, order: Order) -> None:
        self.background = None
        self._house = house
        self._order = order
        self._requests = order.requests
        self._extra_headers = [(name.encode(), value.encode()) for name, value in order.headers.items()]
        self._begun = False
        self._ends: dict[int, End] = {}
        self._sent: list[Generation] = []
        self._cost = [0] * len(order.requests)
        """Tokens of each request: as seen so far, and as the engine says once it has ended."""
        self._counted: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._in_time(send))
        except ClientGone:
            log.debug("%s: the client left", self._requests[0].request_id)
        except asyncio.CancelledError:
            await self._stop(scope, receive, send)
            raise
        except Exception as error:
            told = from_exception(error)
            if not self._begun:
                told.headers = {**self._order.headers, **(told.headers or {})}
                raise told from None
            await self._break_off(send, told)
        finally:
            self._settle()

    def _settle(self) -> None:
        """What this answer has sent is paid for, whether its client stayed or not."""
        paid = {index: one.request for index, one in enumerate(self._sent) if not one.again}
        unheard = [(one, self._cost[index]) for index, one in paid.items() if index not in self._counted]
        self._order.allowance.settle(sum(self._cost[index] for index in paid.keys() & self._counted), unheard)
        if self._order.repeatable is not None:
            self._house.repeating.keep_after(list(paid.values()))

    async def _in_time(self, send: Send) -> None:
        left = self._order.until - now() + self._house.settings.deadline_grace
        try:
            async with asyncio.timeout(left.total_seconds()) as limit, self._submitted() as several:
                await self._answer(several, send)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Expired("The deadline passed before the answer was complete.") from None

    @contextlib.asynccontextmanager
    async def _submitted(self) -> AsyncIterator[Several]:
        """All requests, on their way, and kept. If one can't be sent, or kept, those before it are stopped."""
        again = self._order.repeatable is not None and not self._order.repeatable.first
        submit = self._house.submit_again if again else self._house.submit
        async with Several(self._sent) as several:
            keeping = None if self._order.keeping is None else asyncio.create_task(self._order.keeping)
            try:
                for request in self._requests:
                    self._sent.append(await submit(request, conversation=self._order.conversation))
                if keeping is not None:
                    await keeping
            except BaseException:
                if keeping is not None:
                    keeping.cancel()
                    await asyncio.gather(keeping, return_exceptions=True)
                raise
            yield several

    def _heard(self, frames: Iterable[tuple[int, Frame]]) -> Iterable[tuple[int, Delta]]:
        """The deltas in frames, by choice, counted through all requests. Notes how requests ended; raises the error of
        one that did not finish."""
        for index, frame in frames:
            told = body(frame)
            if isinstance(told, Delta):
                self._cost[index] += len(told.token_ids)
                yield index * self._requests[0].choices + frame.choice, told
            elif isinstance(told, Admission):
                self._cost[index] += told.prompt_tokens
            else:
                self._cost[index] = told.prompt_tokens + told.completion_tokens
                self._counted.add(index)
                if told.status != "finished":
                    raise from_end(told, self._order.renamed)
                self._ends[index] = told

    def _all_ends(self) -> list[End]:
        return [self._ends[index] for index in range(len(self._requests))]

    async def _answer(self, several: Several, send: Send) -> None:
        raise NotImplementedError

    async def _begin(self, send: Send, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._begun = True
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, *self._extra_headers]})

    async def _stop(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The server shuts down and the drain time is over."""
        error = Unavailable("The server is shutting down.")
        if self._begun:
            await self._break_off(send, error)
        else:
            await error_response(error)(scope, receive, send)

    async def _break_off(self, send: Send, error: AgonError) -> None:
        """End an answer that has begun. A client that does not read is not waited for."""


class WholeAnswer(Answer):
    """One JSON body at the end."""

    def __init__(self, house: House, order: Order, telling: Callable[[], Whole]) -> None:
        super().__init__(house, order)
        self._make = telling

    async def _answer(self, several: Several, send: Send) -> None:
        telling = self._make()
        while not several.ended:
            for choice, delta in self._heard(await several.take()):
                telling.delta(choice, delta)
        data = telling.body(self._all_ends()).model_dump_json(by_alias=True).encode()
        length = (b"content-length", b"%d" % len(data))
        await self._begin(send, [(b"content-type", b"application/json"), length])
        await send({"type": "http.response.body", "body": data})


class StreamedAnswer(Answer):
    """Server-sent events. The head waits for the engine's admission, so that an error until then has its status."""

    def __init__(self, house: House, order: Order, telling: Callable[[], Streamed]) -> None:
        super().__init__(house, order)
        self._make = telling
        self._telling: Streamed | None = None
        self._told_beginning = False
        self._over = False

    async def _answer(self, several: Several, send: Send) -> None:
        settings = self._house.settings
        every = settings.heartbeat_every.total_seconds()
        self._telling = telling = self._make()
        frames = await several.take(settings.head_timeout.total_seconds())
        _raise_early_end(frames, self._order.renamed)
        await self._begin(send, sse.HEADERS)
        data = self._events(telling, frames) if frames else sse.HEARTBEAT
        with self._house.metrics.gauge("sse_open_streams").track_inprogress():
            while not (several.ended or self._over):
                # Nothing to tell although frames came (text is held back): then nothing is sent.
                if data:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                frames = await several.take(every)
                data = self._events(telling, frames) if frames else sse.HEARTBEAT
            await send({"type": "http.response.body", "body": data})

    def _events(self, telling: Streamed, frames: list[tuple[int, Frame]]) -> bytes:
        """All that these frames tell, as one piece of bytes: one write for one wake-up."""
        out: list[bytes] = []
        if not self._told_beginning:
            self._told_beginning = True
            out.append(telling.begin())
        try:
            for choice, delta in self._heard(frames):
                out.append(telling.delta(choice, delta))
            if len(self._ends) == len(self._requests):
                out.append(telling.end(self._all_ends()))
        except AgonError as error:
            self._over = True
            out.append(telling.error(error))
        return b"".join(out)

    async def _break_off(self, send: Send, error: AgonError) -> None:
        if self._begun and self._telling is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await send({"type": "http.response.body", "body": self._telling.error(error)})


def _raise_early_end(frames: list[tuple[int, Frame]], renamed: Mapping[str, str]) -> None:
    """Raises the error of a request that ended badly before it had any token."""
    if any(frame.kind == "delta" for _, frame in frames):
        return
    for _, frame in frames:
        end = body(frame) if frame.kind == "final" else None
        if isinstance(end, End) and end.status != "finished":
            raise from_end(end, renamed)
