"""The two answers to a chat request, as raw ASGI: whole, or token by token. If the client leaves, the engine stops."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agon.errors import AgonError, Expired, Unavailable
from agon.messages import GenerationRequest, now
from agon.stream.frames import Delta, End, Frame, body
from agon_ingress import sse
from agon_ingress.chat_types import ChatCompletion, Choice, ResponseMessage
from agon_ingress.client import ClientGone, while_connected
from agon_ingress.errors import error_response, from_end, from_exception
from agon_ingress.generation import Generation
from agon_ingress.house import House

log = logging.getLogger(__name__)


class ChatAnswer(Response):
    """What both have in common. The request is submitted inside of the answer, so that one place owns it to its end.

    `request` has its deadline; some time after it the answer ends even where no worker says so.
    """

    def __init__(
        self, house: House, request: GenerationRequest, conversation: str | None, headers: dict[str, str]
    ) -> None:
        self.background = None
        self._house = house
        self._request = request
        self._conversation = conversation
        self._extra_headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._begun = False
        self._created = int(time.time())
        card = house.registry.cards.get(request.model)
        self._fingerprint = f"fp_{card.digest.removeprefix('sha256:')[:12]}" if card else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._in_time(send))
        except ClientGone:
            log.debug("%s: the client left", self._request.request_id)
        except asyncio.CancelledError:
            await self._stop(scope, receive, send)
            raise
        except Exception as error:
            if not self._begun:
                raise
            await self._break_off(send, from_exception(error))

    async def _in_time(self, send: Send) -> None:
        assert self._request.deadline is not None
        left = self._request.deadline - now() + self._house.settings.deadline_grace
        try:
            async with asyncio.timeout(left.total_seconds()) as limit:
                async with await self._house.submit(self._request, conversation=self._conversation) as generation:
                    await self._answer(generation, send)
        except TimeoutError:
            if not limit.expired():
                raise
            raise Expired("The deadline passed before the answer was complete.") from None

    async def _answer(self, generation: Generation, send: Send) -> None:
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


class WholeAnswer(ChatAnswer):
    """One JSON body at the end."""

    async def _answer(self, generation: Generation, send: Send) -> None:
        texts: list[list[str]] = [[] for _ in range(self._request.n)]
        reasons: list[str | None] = [None] * self._request.n
        async for frame in generation:
            told = body(frame)
            if isinstance(told, Delta):
                texts[frame.choice].append(told.text)
                reasons[frame.choice] = told.finish_reason or reasons[frame.choice]
        assert isinstance(told, End)  # a generation ends with `final`, or raises
        if told.status != "finished":
            raise from_end(told)
        completion = ChatCompletion(
            id=self._request.request_id,
            created=self._created,
            model=self._request.model,
            choices=tuple(
                Choice(index=index, message=ResponseMessage(content="".join(text)), finish_reason=reason)
                for index, (text, reason) in enumerate(zip(texts, reasons, strict=True))
            ),
            usage=sse.usage_of(told),
            system_fingerprint=self._fingerprint,
        )
        data = completion.model_dump_json().encode()
        length = (b"content-length", b"%d" % len(data))
        await self._begin(send, [(b"content-type", b"application/json"), length])
        await send({"type": "http.response.body", "body": data})


class StreamedAnswer(ChatAnswer):
    """Server-sent events. The head waits for the engine's admission, so that an error until then has its status."""

    def __init__(
        self,
        house: House,
        request: GenerationRequest,
        conversation: str | None,
        headers: dict[str, str],
        *,
        include_usage: bool,
    ) -> None:
        super().__init__(house, request, conversation, headers)
        self._include_usage = include_usage
        self._told_roles = False
        self._chunks = sse.ChunkWriter(
            request.request_id,
            self._created,
            request.model,
            self._fingerprint,
            request.n,
            include_usage=include_usage,
        )

    async def _answer(self, generation: Generation, send: Send) -> None:
        settings = self._house.settings
        every = settings.heartbeat_every.total_seconds()
        frames = await generation.take(settings.head_timeout.total_seconds())
        _raise_early_end(frames)
        await self._begin(send, sse.HEADERS)
        with self._house.metrics.gauge("sse_open_streams").track_inprogress():
            while not generation.ended:
                # Nothing to tell although frames came (text is held back): then nothing is sent.
                if data := self._events(frames) if frames else sse.HEARTBEAT:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                frames = await generation.take(every)
            await send({"type": "http.response.body", "body": self._events(frames)})

    def _events(self, frames: list[Frame]) -> bytes:
        """All that these frames tell, as one piece of bytes: one write for one wake-up."""
        out: list[bytes] = []
        chunks = self._chunks
        if not self._told_roles:
            self._told_roles = True
            out.append(chunks.roles())
        for frame in frames:
            told = body(frame)
            if isinstance(told, Delta):
                if told.text:
                    out.append(chunks.content(frame.choice, told.text))
                if told.finish_reason is not None:
                    out.append(chunks.finish(frame.choice, told.finish_reason))
            elif isinstance(told, End):
                if told.status != "finished":
                    out.append(sse.error_event(from_end(told)))
                    continue
                if self._include_usage:
                    out.append(chunks.usage(sse.usage_of(told)))
                out.append(sse.DONE)
        return b"".join(out)

    async def _break_off(self, send: Send, error: AgonError) -> None:
        if self._begun:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await send({"type": "http.response.body", "body": sse.error_event(error)})


def _raise_early_end(frames: list[Frame]) -> None:
    """Raises the error of a request that ended badly before it had any token."""
    if frames and frames[-1].kind == "final" and not any(frame.kind == "delta" for frame in frames):
        end = body(frames[-1])
        if isinstance(end, End) and end.status != "finished":
            raise from_end(end)
