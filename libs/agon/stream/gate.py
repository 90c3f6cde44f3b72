"""The gate: the only writer of a running request. Whatever dies, its list has one author at a time and one end.

`claim.lua` decides who writes, `append.lua` writes; both run as a whole inside Redis. `docs/gate.md` has the states.
Every call here may be repeated: what was applied, but whose reply was lost, is recognised and answered the same way.
All methods raise redis' errors when Redis does not answer within the client's timeout and retries.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis

from agon.settings import MIB
from agon.stream.frames import Frame, FrameKind, Out, decode
from agon.stream.scripts import Script, Scripts
from agon.topics import Keys

_CLAIM, _APPEND, _COMPLETE = Script("claim.lua"), Script("append.lua"), Script("complete.lua")
_encoder = msgspec.msgpack.Encoder()
_KINDS: dict[FrameKind, int] = {"admitted": 0, "delta": 1, "final": 2}
# One script blocks Redis while it runs: larger batches go in several calls.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Claiming:
    """A worker asks for a request that a Kafka record has brought it."""

    tenant: str
    request_id: str
    source: str
    """The record: "topic/partition/offset"."""
    digest: str
    """Of the record's value: tells a repeated record from another one with the same id."""
    worker: str
    """ "id:incarnation"."""
    abandoned: bool = False
    """This worker may already own the request without running it (it gave up, and is asked again): then it is told
    `Yours` with a new attempt, and not `Parked` on itself."""


@dataclass(frozen=True, slots=True)
class Yours:
    """The claimer owns the request at this attempt, and goes on behind these frames."""

    attempt: int
    frames: tuple[Frame, ...]
    cancelled: bool = False
    """The cancel mark is set: write the end, generate nothing."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A living worker has it; claim again later. Where `owner` is the claimer itself, it is running it already."""

    owner: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A final frame is there, and whoever wrote it is dead (or is the claimer): publish the completion from these."""

    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The completion is on Kafka: only the offset is left to finish."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The id belongs to another record. `same`: with the same bytes, nothing to do; else it is a dead letter."""

    same: bool


Claim = Yours | Parked | Ended | Done | Duplicate


class Append(msgspec.Struct, frozen=True):
    """What a step has brought for one request: frames made by `agon.stream.frames.out`, in order.

    After `BEHIND` all frames of the request are written again, with the claiming that the request was claimed by as
    `rewrite`: the list begins anew with them, unless somebody else owns the request by now.
    """

    tenant: str
    request_id: str
    attempt: int
    reply_to: str | None
    """The ingress whose channel gets the frames."""
    frames: tuple[Out, ...]
    rewrite: Claiming | None = None


class Answer(IntEnum):
    """What became of an append. Whatever is not OK has written nothing.

    `OK`: on the list, now or before. `FENCED`: somebody else owns the request, or it is over: drop it; while its
    record is not finished, claim it again later as if it were parked. `CANCELLED`: the client is gone: write the end
    (frames with a final one are always taken). `BEHIND`: the list is gone or shorter than known: write all frames
    again. `FULL`: the list is as long as it may get: write the end.
    """

    OK = 0
    FENCED = 1
    CANCELLED = 2
    BEHIND = 3
    FULL = 4


_ANSWERS = tuple(Answer)
_Code = Literal[b"yours", b"parked", b"ended", b"done", b"duplicate"]


class Gate:
    """See the module. Holds no state: any number of them may work on the same requests.

    `live_ttl` is how long a request may stand still before Redis forgets it (its worker then writes it again);
    `done_ttl` how long a finished one is remembered: the longest deadline and an hour; `list_ttl` how long readers
    still find the frames of a finished one; `most_bytes` bounds the frames of one request.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        live_ttl: timedelta = timedelta(hours=1),
        done_ttl: timedelta = timedelta(hours=25),
        list_ttl: timedelta = timedelta(minutes=2),
        most_bytes: int = 32 * MIB,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._live_ttl = int(live_ttl.total_seconds())
        self._done_ttl = int(done_ttl.total_seconds())
        self._list_ttl = int(list_ttl.total_seconds())
        self._most_bytes = most_bytes
        self._scripts = Scripts(redis)
        self._names = lru_cache(maxsize=4096)(self._spell)

    async def claim(self, claimings: Sequence[Claiming]) -> list[Claim]:
        """Ask for requests; one answer each, in order."""
        claims: list[Claim] = []
        for start in range(0, len(claimings), _BATCH):
            asked = [
                (*self._names(c.tenant, c.request_id), c.source, c.digest, c.worker, _nonce(), int(c.abandoned))
                for c in claimings[start : start + _BATCH]
            ]
            blob = _encoder.encode((self._keys.worker(""), self._live_ttl, asked))
            claims += map(_claim, await self._scripts.run(_CLAIM, blob))
        return claims

    async def append(self, worker: str, appends: Sequence[Append]) -> list[Answer]:
        """Write what `worker` ("id:incarnation") has generated; one answer each, in order. All frames of an append
        are written, or none. An append must be answered, or be sent again, before the next of its request is sent;
        sent again, it may have grown at its end."""
        answers: list[Answer] = []
        for start in range(0, len(appends), _BATCH):
            batch = appends[start : start + _BATCH]
            start, requests = 1, []
            for append in batch:
                requests.append(self._request(append, start))
                start += sum([len(frame.data) for frame in append.frames])
            blob = _encoder.encode((worker, self._live_ttl, self._most_bytes, requests))
            frames = b"".join([frame.data for append in batch for frame in append.frames])
            answers += [_ANSWERS[code] for code in await self._scripts.run(_APPEND, blob, frames)]
        return answers

    async def complete(self, tenant: str, request_id: str, source: str, digest: str) -> None:
        """Kafka has acknowledged the completion: remember that, and let the list go soon. `source` and `digest` are
        those of the claiming."""
        owner, frames, done, cancel = self._names(tenant, request_id)
        said = f"{source}\n{digest}"
        await self._scripts.run(_COMPLETE, done, said, self._done_ttl, self._list_ttl, owner, frames, cancel)

    async def cancel(self, tenant: str, request_id: str, model: str) -> None:
        """The client is gone: mark the request, and tell the model's workers. A request that has ended stays so."""
        async with self._redis.pipeline(transaction=False) as pipe:
            # The record may wait in Kafka for long: the mark lives as long as anything of a request does.
            pipe.set(self._keys.cancel(tenant, request_id), 1, ex=self._done_ttl)
            pipe.publish(self._keys.control(model), f"{tenant}/{request_id}")
            await pipe.execute()

    async def edges(self, tenant: str, request_id: str) -> tuple[Frame | None, Frame | None]:
        """The first and the last frame of the list, None where there is no list: how far a request has come."""
        key = self._keys.frames(tenant, request_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.lindex(key, 0)
            pipe.lindex(key, -1)
            first, last = await pipe.execute()
        return (None if first is None else decode(first), None if last is None else decode(last))

    async def frames(self, tenant: str, request_id: str) -> list[Frame]:
        """The list as it stands; empty where there is none."""
        data: Any = await self._redis.lrange(self._keys.frames(tenant, request_id), 0, -1)
        return [decode(frame) for frame in data]

    async def close(self) -> None:
        """Give back its connection; a call opens it again."""
        await self._scripts.close()

    def _request(self, append: Append, start: int) -> tuple[Any, ...]:
        again = append.rewrite
        entries: list[int] = []
        for frame in append.frames:
            entries += (_KINDS[frame.kind], frame.choice, frame.at, frame.tokens, len(frame.data))
        return (
            *self._names(append.tenant, append.request_id),
            append.attempt,
            f"{append.tenant}/{append.request_id}",
            "" if append.reply_to is None else self._keys.tokens(append.reply_to),
            () if again is None else (again.source, again.digest, _nonce()),
            entries,
            start,
        )

    def _spell(self, tenant: str, request_id: str) -> tuple[str, str, str, str]:
        keys = self._keys
        return (
            keys.owner(tenant, request_id),
            keys.frames(tenant, request_id),
            keys.done(tenant, request_id),
            keys.cancel(tenant, request_id),
        )


def _claim(reply: list[Any]) -> Claim:
    code: _Code = reply[0]
    match code:
        case b"yours":
            return Yours(reply[1], tuple(map(decode, reply[3])), bool(reply[2]))
        case b"parked":
            return Parked(reply[1].decode())
        case b"ended":
            return Ended(tuple(map(decode, reply[1])))
        case b"done":
            return Done()
        case b"duplicate":
            return Duplicate(bool(reply[1]))


def _nonce() -> str:
    """Names one call, and the list that it begins: a retry of the same call carries the same name."""
    return secrets.token_hex(8)
