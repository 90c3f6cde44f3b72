"""What nobody tells a worker: deadlines that pass, and ingress processes that are gone with their clients."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from redis.asyncio import Redis

from agon.errors import Cancelled, Expired
from agon.messages import now
from agon.stream.heartbeat import ingresses_alive
from agon.topics import Keys
from agon_inference.held import Held
from agon_inference.retrying import AWAY
from agon_inference.settings import InferenceSettings
from agon_inference.writer import Writer

_log = logging.getLogger(__name__)


def expired(held: Iterable[Held], moment: datetime) -> list[Held]:
    """Those whose deadline has passed and that have no end yet."""
    return [
        one
        for one in held
        if not one.ending and one.request and one.request.deadline and one.request.deadline <= moment
    ]


def listening(held: Iterable[Held]) -> dict[str, list[Held]]:
    """Those that somebody must be listening to, by the ingress that does."""
    by_ingress: dict[str, list[Held]] = {}
    for one in held:
        request = one.request
        if request is not None and request.reply_to is not None and not request.detached and not one.ending:
            by_ingress.setdefault(request.reply_to, []).append(one)
    return by_ingress


class Missing:
    """How often in a row each ingress was missing. One that was `misses` times is gone."""

    def __init__(self, misses: int) -> None:
        self._misses = misses
        self._counts: Counter[str] = Counter()

    def look(self, asked: Collection[str], alive: Collection[str]) -> set[str]:
        """Note who of those asked for is alive; returns who is gone."""
        self._counts = Counter({name: self._counts[name] + 1 for name in asked if name not in alive})
        return {name for name, count in self._counts.items() if count >= self._misses}


class Watch:
    """One look each second, for ever; `looked` is called after each."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        held: dict[str, Held],
        writer: Writer,
        settings: InferenceSettings,
        looked: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._held = held
        self._writer = writer
        self._interval = settings.watch_interval.total_seconds()
        self._timeout = settings.call_timeout.total_seconds()
        self._missing = Missing(settings.ingress_misses)
        self._looked = looked

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            for held in expired(self._held.values(), now()):
                self._writer.stop(held, Expired("the request's deadline passed before its answer was complete"))
            await self._look_for_clients()
            self._looked()

    async def _look_for_clients(self) -> None:
        clients = listening(self._held.values())
        if not clients:
            return
        try:
            async with asyncio.timeout(self._timeout):
                alive = await ingresses_alive(self._redis, self._keys, list(clients))
        except AWAY:
            return  # nobody can be known to be gone
        for name in self._missing.look(clients, alive):
            for held in clients[name]:
                _log.info("%s: its ingress %s is gone", held.key, name)
                self._writer.stop(held, Cancelled("the client's connection is gone"))
