"""A kept response as a stream of events, from any of them on: what its worker writes, as long as that is there, else
what the record says."""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping

from starlette.responses import Response as HttpResponse
from starlette.types import Receive, Scope, Send

from agon.errors import Expired
from agon.messages import now
from agon.store import requests
from agon.store.responses import ResponseRow
from agon_ingress.house import House
from agon_ingress.http import sse
from agon_ingress.http.client import ClientGone, while_connected
from agon_ingress.http.errors import from_exception
from agon_ingress.responses.events import ResponseEvent
from agon_ingress.responses.mapping import speech
from agon_ingress.responses.state import begun, heard, replayed
from agon_ingress.responses.telling import ResponseMachine, encoded


class FollowedResponse(HttpResponse):
    """Server-sent events. The response goes on when its client leaves.

    `after` is the number of the last event that the client has. While the worker's frames are there, every reader gets
    the same events with the same numbers; of what is only in the record, one who has some gets the last.
    """

    def __init__(
        self, house: House, row: ResponseRow, after: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.background = None
        more = (headers or {}).items()
        self.raw_headers = [*sse.HEADERS, *((name.encode(), value.encode()) for name, value in more)]
        self._house = house
        self._row = row
        self._after = after
        self._machine = ResponseMachine(begun(row), speech(begun(row), house.registry.cards.get(row.model)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(ClientGone):
            await while_connected(receive, self._answer(send))

    async def _answer(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._house.metrics.gauge("sse_open_streams").track_inprogress():
            async with contextlib.aclosing(self._told()) as told:
                async for data in told:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _told(self) -> AsyncGenerator[bytes]:
        try:
            async for data in self._events():
                yield data
        except Exception as error:
            yield encoded(self._machine.error(from_exception(error)))

    async def _events(self) -> AsyncGenerator[bytes]:
        row, house = self._row, self._house
        first, _ = await house.gate.edges(row.tenant, row.response_id)
        if first is None and (end := (await requests.ended(house.pool, row.tenant, [row.response_id]))):
            events = [*self._machine.begin(), *replayed(self._machine, row, end[row.response_id])]
            if self._after is not None:
                number = max(self._after + 1, events[-1].sequence_number)
                events = [events[-1].model_copy(update={"sequence_number": number})]
            yield encoded(events)
            return
        yield self._new(self._machine.begin())
        async with house.subscriber.follow(row.tenant, row.response_id) as stream:
            while not stream.ended:
                frames = await stream.take(house.settings.heartbeat_every.total_seconds())
                yield self._new(heard(self._machine, row, frames)) if frames else sse.HEARTBEAT
                if not frames and now() > row.deadline + house.settings.deadline_grace:
                    raise Expired("The deadline passed before the answer was complete.")

    def _new(self, events: Iterable[ResponseEvent]) -> bytes:
        """Those that the client has not."""
        after = -1 if self._after is None else self._after
        return encoded(event for event in events if event.sequence_number > after)
