"""Cancellations as the gate tells them: the fast path. The mark at the gate is what decides, at the next append."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from redis.asyncio import Redis

from agon.errors import Cancelled
from agon.topics import Keys
from agon_inference.held import Held
from agon_inference.retrying import AWAY
from agon_inference.writer import Writer

_log = logging.getLogger(__name__)
_RECONNECT_SECONDS = 1.0
_LISTEN_SECONDS = 5.0


class Control:
    """Listens on the control channels of this worker's models, and again after Redis was away. `models` tells them:
    those that have come are listened for within seconds."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        models: Callable[[], Iterable[str]],
        held: dict[str, Held],
        writer: Writer,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._models = models
        self._held = held
        self._writer = writer

    async def run(self) -> None:
        while True:
            try:
                await self._listen()
            except AWAY as error:
                _log.debug("listening for cancellations again: %r", error)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            heard: set[str] = set()
            while True:
                if new := {self._keys.control(model) for model in self._models()} - heard:
                    await pubsub.subscribe(*new)
                    heard |= new
                message = await pubsub.get_message(timeout=_LISTEN_SECONDS)
                if message is None:
                    await pubsub.ping()  # a connection that is half dead is noticed, and opened anew
                    continue
                held = self._held.get(message["data"].decode(errors="replace"))
                if held is not None:
                    self._writer.stop(held, Cancelled("the request was cancelled"))
