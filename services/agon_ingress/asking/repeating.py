"""`Idempotency-Key`: the same key and body gives the same answer, and the engine answers once.

The key stands for an id. Whoever sends it again asks for that id: its answer is read from Redis, while it is written or
afterwards; where no worker knows the id yet, the record is produced once more, byte for byte the same, and the gate
takes one of them. So it does not matter which ingress is asked, nor whether the first one lives.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from fastapi import Request
from redis.exceptions import RedisError

from agon.errors import Conflict, InvalidRequest, StreamLost
from agon.messages import GenerationRequest, now
from agon.stream.frames import Frame
from agon.stream.repeats import Promise, Repeats
from agon.stream.subscriber import Stream, Subscriber
from agon.tasks import cancel_all
from agon_ingress.access.callers import caller_of
from agon_ingress.settings import IngressSettings

log = logging.getLogger(__name__)

HEADER = "idempotency-key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that came with a key: what stands under it, and whether this is the request that wrote that."""

    tenant: str
    key: str
    promise: Promise
    first: bool

    @property
    def headers(self) -> dict[str, str]:
        """For the answer's head."""
        return {} if self.first else {"idempotent-replayed": "true"}

    @property
    def began(self) -> datetime:
        return _EPOCH + self.promise.began * _MICROSECOND

    @property
    def deadline(self) -> datetime:
        return _EPOCH + self.promise.deadline * _MICROSECOND

    def pinned(self, request: GenerationRequest) -> GenerationRequest:
        """The same bytes whoever makes them: and it goes on to its end when the client has left, who may come back."""
        seed = int.from_bytes(hashlib.sha256(request.request_id.encode()).digest()[:6])
        changes = {"seed": seed if request.seed is None else request.seed, "reply_to": self.promise.reply_to}
        return request.model_copy(update={**changes, "detached": True})


class Told:
    """Frames that are kept, as a stream of them."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = list(frames)
        self.ended = False

    async def take(self, patience: float = 0) -> list[Frame]:
        self.ended = True
        frames, self._frames = self._frames, []
        return frames

    async def close(self) -> None:
        """There is nothing to give back."""


class Repeating:
    """One per process, used as a context manager: it keeps answers once they have ended."""

    def __init__(self, repeats: Repeats, subscriber: Subscriber, settings: IngressSettings, ingress_id: str) -> None:
        self.repeats = repeats
        self._subscriber = subscriber
        self._life = settings.idempotency_life
        self._ingress_id = ingress_id
        self._tasks: set[asyncio.Task[None]] = set()

    async def promised(self, request: Request, path: str, began: datetime, deadline: datetime) -> Repeatable | None:
        """What stands under the key of a request whose body was read; None where it came without. Raises
        `InvalidRequest` for what is no key, and (422) where another request stands under it."""
        key = request.headers.get(HEADER)
        if key is None:
            return None
        if _KEY.fullmatch(key) is None:
            told = f"the header {HEADER} must be 1 to 255 printable characters of ASCII, without spaces"
            raise InvalidRequest(told, param=HEADER, code="invalid_value")
        caller, name, body = caller_of(request), request.state.request_id, await request.body()
        whose = caller.key.key_id if caller.key is not None else ""
        hashed = hashlib.sha256(f"{whose}/{key}".encode()).hexdigest()
        promise = Promise(
            digest=hashlib.sha256(path.encode() + b"\n" + body).hexdigest(),
            name=name,
            began=(began - _EPOCH) // _MICROSECOND,
            deadline=(deadline - _EPOCH) // _MICROSECOND,
            reply_to=self._ingress_id,
        )
        stands = await self.repeats.promise(caller.tenant, hashed, promise, self._life + (deadline - began))
        if stands.digest != promise.digest:
            error = InvalidRequest(
                f"the {HEADER} was used for another request: take a new key for every request that is not a repetition",
                param=HEADER,
                code="idempotency_key_reused",
            )
            error.status = 422
            raise error
        return Repeatable(caller.tenant, hashed, stands, stands.name == name)

    async def withdraw(self, one: Repeatable) -> None:
        """Nothing of it was sent: the key is free."""
        await self.repeats.withdraw(one.tenant, one.key)

    async def source(self, request: GenerationRequest) -> Stream | Told | None:
        """Where the answer of a request comes from that was sent before; None where nobody has taken it up. Raises
        `Conflict` for one that is over and no longer kept."""
        named = request.tenant, request.request_id
        if frames := await self.repeats.kept(*named):
            return Told(frames)
        there, over = await self.repeats.traces(*named)
        if there:
            return self._subscriber.follow(*named)
        assert request.deadline is not None
        if over or now() > request.deadline:
            told = "This request was answered before, and its answer is no longer kept: ask anew under another key."
            raise Conflict(told, code="answer_gone")
        return None

    def keep_after(self, requests: Sequence[GenerationRequest]) -> None:
        """Keep the answers of these once they have ended."""
        for request in requests:
            self._own(self._keep(request))

    async def _keep(self, request: GenerationRequest) -> None:
        assert request.deadline is not None
        stream = self._subscriber.follow(request.tenant, request.request_id)
        try:
            async with asyncio.timeout((request.deadline - now() + timedelta(seconds=10)).total_seconds()):
                async for _ in stream:
                    pass
            await self.repeats.keep(request.tenant, request.request_id, self._life)
        except (TimeoutError, StreamLost, RedisError, OSError) as error:
            log.info("the answer of %s is not kept: %s", request.key, error or "it did not end in time")
        finally:
            await stream.close()

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="repeating")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s broke", task.get_name(), exc_info=error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel_all(self._tasks)
