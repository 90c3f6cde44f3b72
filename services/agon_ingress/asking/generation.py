"""One accepted request, from the moment it went out to Kafka until its client has its end or has left."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from agon.errors import StreamLost
from agon.messages import GenerationRequest
from agon.stream.frames import Frame


class Frames(Protocol):
    """Where the frames come from: a stream, or what is kept of one."""

    @property
    def ended(self) -> bool: ...

    async def take(self, patience: float = math.inf) -> list[Frame]: ...

    async def close(self) -> None: ...


class Generation:
    """The frames of one request, each once and in order, up to and including `final`.

    Close it in every case: closing one that has not ended tells the engine to stop, unless the request is detached.
    """

    def __init__(
        self,
        request: GenerationRequest,
        stream: Frames,
        abandon: Callable[[GenerationRequest], Awaitable[None]],
        leave: Callable[[], None],
        again: bool = False,
    ) -> None:
        self.request = request
        self.again = again
        """Sent by another, who is told what it costs."""
        self.ended = False
        self._stream = stream
        self._abandon = abandon
        self._leave = leave
        self._closed = False

    async def take(self, patience: float = math.inf) -> list[Frame]:
        """Wait for frames and return all that are there, at least one unless none came for so many seconds; the last
        one of all is `final`.

        Raises `StreamLost` when the answer can't be told to its end. Not to be called after the end.
        """
        frames = await self._stream.take(patience)
        if frames:
            self.ended = frames[-1].kind == "final"
        elif self._stream.ended:
            raise StreamLost("the answer ended without saying how")
        return frames

    async def __aiter__(self) -> AsyncIterator[Frame]:
        while not self.ended:
            for frame in await self.take():
                yield frame

    async def close(self) -> None:
        """Give everything back; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._leave()
        await self._stream.close()
        if not self.ended and not self.request.detached:
            await self._abandon(self.request)

    async def __aenter__(self) -> "Generation":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
