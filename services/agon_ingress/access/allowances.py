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
from agon.tasks import cancel_all
from agon_ingress.access.allowance import headers, need, refusal
from agon_ingress.access.callers import Caller
from agon_ingress.access.keyring import Keyring

log = logging.getLogger(__name__)

Unheard = Sequence[tuple[GenerationRequest, int]]
"""Requests that have not told their end, each with the tokens that were seen of it."""

CLOSING = timedelta(seconds=10)
"""How long an engine may take to count an answer whose client has left."""
LOST = timedelta(minutes=10)
"""How long the requests of a process that died are followed to their ends."""
_NO_BOUND = Limits(tokens_per_minute=2**53, budget_tokens=2**53)
"""Counted, and never refused."""


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
        self,
        caller: Caller,
        requests: Sequence[GenerationRequest],
        body_bytes: int,
        card: ModelCard,
        *,
        found_again: bool = False,
    ) -> Allowance:
        """Raises `RateLimited` or `OutOfBudget` with what is left, and redis' or asyncpg's errors. `found_again`: where
        this process dies, whoever goes on with its work counts them."""
        key = caller.key
        if key is None or not key.limits.any:
            return UNLIMITED
        name, tokens = uuid.uuid4().hex, need(requests, body_bytes, card, self._unnamed)
        reserved = await self._reserve(key, name, tokens, () if found_again else [one.request_id for one in requests])
        if reserved.refused is not None:
            raise refusal(key.limits, tokens, reserved)
        made = self._running[name] = Reservation(self, key, name, tokens, headers(key.limits, reserved))
        return made

    async def charge(self, key: ApiKey, tokens: int) -> None:
        """Count tokens that were spent without a reservation that still holds. Raises the same errors."""
        name = uuid.uuid4().hex
        await self._reserve(replace(key, limits=_NO_BOUND), name, tokens)
        self._keyring.note_spent(key, await self._limits.settle(key, name, tokens))

    async def close(self, reservation: Reservation, tokens: int, unheard: Unheard) -> None:
        """Settle, once the engines have counted."""
        try:
            counts = await asyncio.gather(
                *(self._count(one.tenant, one.request_id, _patience(one), seen) for one, seen in unheard)
            )
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

    async def _reserve(self, key: ApiKey, name: str, tokens: int, requests: Sequence[str] = ()) -> Reserved:
        reserved = await self._limits.reserve(key, name, tokens, self._keyring.spent(key), requests=requests)
        if reserved.refused == "unknown":  # Redis is new, or the key was not used for a day
            spent = await self._keyring.read_spent(key)
            reserved = await self._limits.reserve(key, name, tokens, spent, sure=True, requests=requests)
        if reserved.lost:
            self.own(self._count_lost(key, reserved.lost))
        return reserved

    async def _count_lost(self, key: ApiKey, requests: Sequence[str]) -> None:
        """What a process that died has sent costs what it costs."""
        counts = await asyncio.gather(*(self._count(key.tenant, one, LOST, 0) for one in requests))
        await self.charge(key, sum(counts))

    async def _count(self, tenant: str, request_id: str, patience: timedelta, seen: int) -> int:
        """What a request has cost, by its end; what was seen of it where that is not told."""
        stream = self._subscriber.follow(tenant, request_id)
        try:
            async with asyncio.timeout(patience.total_seconds()):
                async for frame in stream:
                    if frame.kind == "final" and isinstance(end := body(frame), End):
                        return end.prompt_tokens + end.completion_tokens
        except (TimeoutError, StreamLost) as error:
            log.info("the end of %s was not told: %s", request_id, error or "in time")
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
        await cancel_all(self._tasks)


def _patience(request: GenerationRequest) -> timedelta:
    """How long its end may take: a detached one goes on to it, the others have been stopped."""
    assert request.deadline is not None
    return request.deadline - now() + CLOSING if request.detached else CLOSING
