"""What the ingress depends on, asked each second, so that a request learns at once that a part is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

from agon.errors import Unavailable

log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[None]]


class Health:
    """Dependencies by name, each with a probe that raises when it is away. `problems` has the reason, or None."""

    def __init__(self, probes: dict[str, Probe], every: timedelta, timeout: timedelta) -> None:
        self._probes = probes
        self._every = every.total_seconds()
        self._timeout = timeout.total_seconds()
        self.problems: dict[str, str | None] = dict.fromkeys(probes, "not asked yet")

    def require(self, *names: str) -> None:
        """Raises `Unavailable`, naming the part, if one of these is away."""
        for name in names:
            problem = self.problems.get(name, "not configured")
            if problem is not None:
                raise Unavailable(f"{name} is away: {problem}. Try again shortly.")

    def watches(self) -> list[Coroutine[Any, Any, None]]:
        """What asks them every so often, for ever: each on its own, so that one that hangs delays no other."""
        return [self._watch(name) for name in self._probes]

    async def _watch(self, name: str) -> None:
        while True:
            await self.ask(name)
            await asyncio.sleep(self._every)

    async def ask(self, name: str) -> None:
        """One probe, whatever it raises: this must outlive every failure of what it watches."""
        problem: str | None
        try:
            async with asyncio.timeout(self._timeout):
                await self._probes[name]()
            problem = None
        except TimeoutError:
            problem = f"no answer within {self._timeout:g} s"
        except Exception as error:
            problem = str(error) or type(error).__name__
        before, self.problems[name] = self.problems[name], problem
        if (before is None) != (problem is None):
            log.info("%s is %s", name, "there" if problem is None else f"away: {problem}")
