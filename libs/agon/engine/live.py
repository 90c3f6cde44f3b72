"""The engine for programs with an event loop: it computes in a thread of its own, and each request is a stream."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from itertools import count
from types import TracebackType
from typing import Self

from agon.engine.engine import Engine
from agon.engine.events import Event, Failed, Finished
from agon.engine.params import Prompt, Request
from agon.engine.sampling import SamplingParams


class AsyncEngine:
    """Steps an engine while there is something to do, from entering to leaving.

        async with AsyncEngine(engine) as live:
            async for event in live.stream("Once upon a time", SamplingParams(max_tokens=32)):
                ...

    Leaving ends what still runs with `Cancelled`. Its methods are for the loop that it was entered in; nobody else may
    step the engine meanwhile.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._numbers = count()
        # By key, those who wait for its events: the oldest first, which gets them until its end.
        self._streams: dict[str, deque[asyncio.Queue[Event]]] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="agon-engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in self._streams:
            self.engine.cancel(key)
        self._stopping = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def submit(self, request: Request) -> AsyncIterator[Event]:
        """Take a request now, and iterate its events whenever: the last one is `Finished` or `Failed`.

        Raises `RuntimeError` when the engine has been left.
        """
        if self._stopping:
            raise RuntimeError("this engine has been left; enter another one")
        events: asyncio.Queue[Event] = asyncio.Queue()  # bounded by the tokens that the request may have
        self._streams.setdefault(request.key, deque()).append(events)
        self.engine.submit(request)
        self._wake.set()
        return _until_the_end(events)

    def cancel(self, key: str) -> None:
        """End a request; `Failed(Cancelled)` follows. Unknown keys are ignored."""
        self.engine.cancel(key)
        self._wake.set()

    async def stream(self, prompt: Prompt, params: SamplingParams | None = None) -> AsyncGenerator[Event]:
        """Answer a prompt: its events, the last one `Finished`. Raises the error of a request that fails.

        Whoever stops listening cancels it (close the generator, as `contextlib.aclosing` does).
        """
        key = f"stream-{next(self._numbers)}"
        ended = False
        try:
            async for event in self.submit(Request(key, prompt, params or SamplingParams())):
                ended = isinstance(event, (Finished, Failed))
                if isinstance(event, Failed):
                    raise event.error
                yield event
        finally:
            if not ended:
                self.cancel(key)

    def _run(self) -> None:
        while not self._stopping or self.engine.busy:
            self._wake.clear()  # before looking for work, so that a submit in between is seen at the next wait
            if self.engine.busy:
                self._loop.call_soon_threadsafe(self._deliver, self.engine.step())
            elif not self._stopping:
                self._wake.wait()

    def _deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            waiting = self._streams[event.key]
            waiting[0].put_nowait(event)
            if isinstance(event, (Finished, Failed)):
                waiting.popleft()
                if not waiting:
                    del self._streams[event.key]


async def _until_the_end(events: asyncio.Queue[Event]) -> AsyncGenerator[Event]:
    while True:
        event = await events.get()
        yield event
        if isinstance(event, (Finished, Failed)):
            return
