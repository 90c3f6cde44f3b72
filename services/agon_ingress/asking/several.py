"""Several requests that make one answer: what they tell, as it comes."""

import asyncio
import math
from collections.abc import Sequence
from types import TracebackType

from agon.stream.frames import Frame
from agon_ingress.asking.generation import Generation


class Several:
    """The frames of some generations, each with the number of its own. Close it in every case: it closes them all."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        self._generations = generations
        self._taking: dict[asyncio.Task[list[Frame]], int] = {}

    @property
    def ended(self) -> bool:
        """All of them have, and all that they told was taken."""
        return not self._taking and all(generation.ended for generation in self._generations)

    async def take(self, patience: float = math.inf) -> list[tuple[int, Frame]]:
        """Wait for frames, of any of them; empty if none came for so many seconds. Raises as a generation does.

        Not to be called after the end.
        """
        if len(self._generations) == 1:
            return [(0, frame) for frame in await self._generations[0].take(patience)]
        busy = set(self._taking.values())
        for index, generation in enumerate(self._generations):
            if index not in busy and not generation.ended:
                self._taking[asyncio.create_task(generation.take())] = index
        timeout = None if patience == math.inf else patience
        done, _ = await asyncio.wait(self._taking, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        told = sorted((self._taking.pop(task), task) for task in done)
        return [(index, frame) for index, task in told for frame in task.result()]

    async def __aenter__(self) -> "Several":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.ended:
            for generation in self._generations:
                await generation.close()  # has nothing to wait for
            return
        closing = asyncio.create_task(self._close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing  # a client that leaves right now must not keep the others' engines running
            raise

    async def _close(self) -> None:
        for task in self._taking:
            task.cancel()
        await asyncio.gather(*self._taking, return_exceptions=True)
        await asyncio.gather(*(generation.close() for generation in self._generations))
