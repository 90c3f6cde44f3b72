"""Doing something until Redis or Kafka has taken it: both come back, and nothing may be lost meanwhile."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

_log = logging.getLogger(__name__)
_SAY_EVERY = 25
T = TypeVar("T")

AWAY = (RedisError, KafkaError, OSError, TimeoutError)
"""What a call raises while the other side is away."""


class Patience:
    """How to wait: each try ends within `timeout`, the next one starts `interval` later. `away` while one fails."""

    def __init__(self, interval: timedelta, timeout: timedelta) -> None:
        self._interval = interval.total_seconds()
        self._timeout = timeout.total_seconds()
        self._failing = 0

    @property
    def away(self) -> bool:
        """Something is being tried again at the moment."""
        return self._failing > 0

    async def until_done(self, what: str, call: Callable[[], Awaitable[T]], *passing: type[Exception]) -> T:
        """The result of `call`, however many tries it takes: it is repeated. Errors in `passing` are raised."""
        tries = 0
        try:
            while True:
                try:
                    async with asyncio.timeout(self._timeout):
                        return await call()
                except passing:
                    raise
                except AWAY as error:
                    if tries % _SAY_EVERY == 0:
                        _log.warning("%s: trying again, since %s", what, str(error) or type(error).__name__)
                    self._failing += tries == 0
                    tries += 1
                await asyncio.sleep(self._interval)
        finally:
            self._failing -= tries > 0
