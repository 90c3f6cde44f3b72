"""Requests that may be sent again without running again: what was promised under an idempotency key, and the answers
that are kept to be told once more."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from redis.asyncio import Redis

from agon.stream.frames import Frame, decode
from agon.topics import Keys


class Promise(msgspec.Struct, frozen=True):
    """What the first request under a key has written down, so that every repetition is the same request. Times are
    epoch microseconds."""

    digest: str
    """Of what was asked."""
    name: str
    """The answer's id, without its prefix."""
    began: int
    deadline: int
    reply_to: str
    """The ingress that asked."""


_decoder = msgspec.json.Decoder(Promise)


class Repeats:
    """Holds no state. All calls may be repeated; they raise redis' errors.

    `most_bytes` bounds the frames that are kept of one request, `most` how many requests' frames are kept at once: the
    oldest go.
    """

    def __init__(self, redis: Redis, keys: Keys, *, most_bytes: int, most: int) -> None:
        self._redis = redis
        self._keys = keys
        self._most_bytes = most_bytes
        self._most = most

    async def promise(self, tenant: str, key: str, promise: Promise, life: timedelta) -> Promise:
        """Write it down, unless there is one under this key: the one that stands."""
        name = self._keys.promise(tenant, key)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(name, msgspec.json.encode(promise), nx=True, px=life)
            pipe.get(name)
            _, stands = await pipe.execute()
        return _decoder.decode(stands)

    async def withdraw(self, tenant: str, key: str) -> None:
        """Nothing came of it: the key may be used for anything."""
        await self._redis.delete(self._keys.promise(tenant, key))

    async def traces(self, tenant: str, request_id: str) -> tuple[bool, bool]:
        """Whether the frames of a request are there, and whether it is over."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.exists(self._keys.frames(tenant, request_id))
            pipe.exists(self._keys.done(tenant, request_id))
            there, over = await pipe.execute()
        return bool(there), bool(over)

    async def keep(self, tenant: str, request_id: str, life: timedelta) -> None:
        """Keep the frames of a request that has just ended for longer than the gate does, if they are not too many."""
        kept = self._keys.kept(tenant, request_id)
        size = await self._redis.hget(self._keys.owner(tenant, request_id), "bytes")
        if size is None or int(size) > self._most_bytes:
            return
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.copy(self._keys.frames(tenant, request_id), kept, replace=True)
            pipe.pexpire(kept, life)
            await pipe.execute()
        seconds, microseconds = await self._redis.time()
        # To the microsecond: of equals the set would drop the first by name, which may be this one.
        now = seconds + microseconds / 1e6
        await self._redis.zadd(self._keys.all_kept, {kept: now})
        await self._redis.zremrangebyscore(self._keys.all_kept, "-inf", now - life.total_seconds())
        excess = await self._redis.zcard(self._keys.all_kept) - self._most
        if excess > 0:
            oldest: Any = await self._redis.zpopmin(self._keys.all_kept, excess)
            await self._redis.unlink(*(name for name, _ in oldest))

    async def kept(self, tenant: str, request_id: str) -> Sequence[Frame]:
        """All frames of an ended request; none where they are not kept (any more)."""
        data: Any = await self._redis.lrange(self._keys.kept(tenant, request_id), 0, -1)
        return [decode(frame) for frame in data]
