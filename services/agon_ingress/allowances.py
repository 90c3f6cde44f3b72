"""What keys may use, reserved in Redis before any work, renewed while it lasts, settled by the engines' counts.

An answer to a caller without limits costs nothing here, not even a look at Redis.
"""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

from redis.exceptions import RedisError

from agon.api_keys import ApiKey, Limits
from agon.errors import StreamLost
from agon.messages import GenerationRequest, ModelCard, now
from agon.stream.frames import End, body
from agon.stream.limits import RateLimits, Reserved
from agon.stream.subscriber import Subscriber
from agon_ingress.allowance import headers, need, refusal
from agon_ingress.callers import Caller
from agon_ingress.keyring import Keyring

log = logging.getLogger(__name__)

Unheard = Sequence[tuple[GenerationRequest, int]]
"""Requests that have not told their end, each with the tokens that were seen of it."""

CLOSING = timedelta(seconds=10)
"""How long an engine may take to count an answer whose client has left."""
_NO_BOUND = 2**53
"""A budget that is never spent."""


class Allowance:
    """What one answer may use. Whoever got it settles it once, in every case."""

    headers: dict[str, str] = {}

    def settle(self, tokens: int, unheard: Unheard = ()) -> None:
        """The answer has cost so many tokens, and what the engines say of `unheard`: those requests have an end that
        nobody waits for any more. Returns at once."""


UNLIMITED = Allowance()


class Reservation(Allowance):
    """Of a key with limits."""

    def __init__(self, owner: "Allowances", key: ApiKey, name: str, tokens: int, told: dict[str, str]) -> None:
        self.key = key
        self.name = name
        self.tokens = tokens
        self.headers = told
        self._owner = owner

    def settle(self, tokens: int, unheard: Unheard = ()) -> None:
        self._owner.own(self._owner.close(self, tokens, unheard))


class Allowances:
    """One per process, used as a context manager: it renews what is reserved. What it has not settled when it ends
    comes back by itself, when the lease in Redis is over."""

    def __init__(self, limits: RateLimits, keyring: Keyring, subscriber: Subscriber, unnamed: int) -> None:
        self._limits = limits
        self._keyring = keyring
        self._subscriber = subscriber
        self._unnamed = unnamed
        self._running: dict[str, Reservation] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def reserve(
        self, caller: Caller, requests: Sequence[GenerationRequest], body_bytes: int, card: ModelCard
    ) -> Allowance:
        """Raises `RateLimited` or `OutOfBudget` with what is left, and redis' or asyncpg's errors."""
        key = caller.key
        if key is None or not key.limits.any:
            return UNLIMITED
        name, tokens = uuid.uuid4().hex, need(requests, body_bytes, card, self._unnamed)
        reserved = await self._reserve(key, name, tokens)
        if reserved.refused is not None:
            raise refusal(key.limits, tokens, reserved)
        made = self._running[name] = Reservation(self, key, name, tokens, headers(key.limits, reserved))
        return made

    async def charge(self, key: ApiKey, tokens: int) -> None:
        """Count tokens that were spent without a reservation that still holds. Raises the same errors."""
        name, budget = uuid.uuid4().hex, None if key.limits.budget_tokens is None else _NO_BOUND
        await self._reserve(replace(key, limits=Limits(budget_tokens=budget)), name, tokens)
        self._keyring.note_spent(key, await self._limits.settle(key, name, tokens))

    async def close(self, reservation: Reservation, tokens: int, unheard: Unheard) -> None:
        """Settle, once the engines have counted."""
        try:
            counts = await asyncio.gather(*(self._count(request, seen) for request, seen in unheard))
            spent = await self._limits.settle(reservation.key, reservation.name, tokens + sum(counts))
            self._keyring.note_spent(reservation.key, spent)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("an answer of key %s was not counted: %s", reservation.key.key_id, error)
        finally:
            del self._running[reservation.name]

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside everything else."""
        task = asyncio.create_task(work, name="allowance")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _reserve(self, key: ApiKey, name: str, tokens: int) -> Reserved:
        reserved = await self._limits.reserve(key, name, tokens, self._keyring.spent(key))
        if reserved.refused == "unknown":  # Redis is new, or the key was not used for a day
            spent = await self._keyring.read_spent(key)
            reserved = await self._limits.reserve(key, name, tokens, spent, sure=True)
        return reserved

    async def _count(self, request: GenerationRequest, seen: int) -> int:
        """What a request has cost, by its end: a detached one goes on to it, the others have been stopped."""
        assert request.deadline is not None
        patience = request.deadline - now() + CLOSING if request.detached else CLOSING
        stream = self._subscriber.follow(request.tenant, request.request_id)
        try:
            async with asyncio.timeout(patience.total_seconds()):
                async for frame in stream:
                    if frame.kind == "final" and isinstance(end := body(frame), End):
                        return end.prompt_tokens + end.completion_tokens
        except (TimeoutError, StreamLost) as error:
            log.info("the end of %s was not told: %s", request.key, error or "in time")
        finally:
            await stream.close()
        return seen

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._limits.lease.total_seconds() / 4)
            running: defaultdict[str, dict[str, int]] = defaultdict(dict)
            keys = {}
            for reservation in self._running.values():
                keys[reservation.key.key_id] = reservation.key
                running[reservation.key.key_id][reservation.name] = reservation.tokens
            for key_id, key in keys.items():
                try:
                    await self._limits.renew(key, running[key_id])
                except (RedisError, OSError, TimeoutError) as error:
                    log.warning("what key %s has reserved was not renewed: %s", key_id, error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s broke", task.get_name(), exc_info=error)

    async def __aenter__(self) -> Self:
        self.own(self._renew())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
