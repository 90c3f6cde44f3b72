"""Streams of frames out of Redis: one channel per ingress process brings them, the lists make up for what it loses."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any, Self

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agon.errors import StreamLost
from agon.stream.frames import Frame, decode
from agon.stream.inbox import PAGE, Inbox
from agon.stream.told import Told
from agon.stream.wire import Reply, Wire
from agon.tasks import cancel_all
from agon.topics import Keys

log = logging.getLogger(__name__)


class _Group(msgspec.Struct, array_like=True, frozen=True):
    """What one append brought for one request, as `append.lua` publishes it."""

    request: str
    list: str
    index: int
    frames: tuple[Frame, ...]


_groups = msgspec.msgpack.Decoder(tuple[_Group, ...])

_TICK = 0.1  # seconds between two looks at the clock
_FOLLOW = 0.1  # a followed list is read so often
_VANISHED_LOOK = 0.5
_READ_AT_ONCE = 32  # streams per transaction: a large one would block Redis for others
_RECONNECT = 0.2
_UNBEGUN = 4  # times as long is waited for an answer that has not begun: nothing of it can have been lost
_CHANNEL_SILENCE = 5  # seconds after which a ping must come back over the channel's connection


class Stream:
    """The frames of one request, each once and in order, up to and including `final`. For one reader.

    However slow the reader, nothing else waits for it: what it does not take stays in Redis. Close it in every case.
    """

    def __init__(self, subscriber: "Subscriber", tenant: str, request_id: str, followed: bool, most: int) -> None:
        self.tenant = tenant
        self.request_id = request_id
        self._subscriber = subscriber
        self._followed = followed
        self._inbox = Inbox(most)
        self._told = Told()
        self._waiting: asyncio.Future[bool] | None = None
        self._patient_until = math.inf
        self._error: StreamLost | None = None
        self._look_at = 0.0
        self._vanished_at: float | None = None

    @property
    def key(self) -> str:
        """`tenant/request_id`."""
        return f"{self.tenant}/{self.request_id}"

    @property
    def ended(self) -> bool:
        """The final frame was taken."""
        return self._told.ended

    async def take(self, patience: float = math.inf) -> list[Frame]:
        """Wait for frames and return all that are there; none after the end, or when none came for so many seconds
        (and up to a tenth more).

        Raises `StreamLost` where the rest of the answer can't be told: its list has vanished and nobody writes it
        again, or it came out differently the second time, or Redis can't be reached.
        """
        while not self._told.ended:
            taken = self._new()
            if self._inbox.behind:
                self._subscriber._want(self)
            if taken:
                return taken
            if self._error:
                raise self._error
            if not await self._any(patience):
                break
        return []

    async def batches(self) -> AsyncIterator[list[Frame]]:
        """`take` until the end."""
        while taken := await self.take():
            yield taken

    async def __aiter__(self) -> AsyncIterator[Frame]:
        while taken := await self.take():
            for frame in taken:
                yield frame

    async def close(self) -> None:
        """Stop reading; idempotent."""
        self._subscriber._forget(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _any(self, patience: float) -> bool:
        """Wait until something has come; False when nothing has for so long. The subscriber looks at the clock for all
        streams: a timer for each wait would cost a good part of what is done for a token."""
        loop = asyncio.get_running_loop()
        self._patient_until = loop.time() + patience
        self._waiting = loop.create_future()
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def _wake(self, come: bool = True) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(come)

    def _new(self) -> list[Frame]:
        told, taken = self._told, []
        try:
            for frame in self._inbox.drain():
                if frame is None:
                    told.begin_again()
                elif (new := told.take(frame)) is not None:
                    taken.append(new)
                    if told.ended:
                        self._subscriber._forget(self)
                        break
        except StreamLost as error:
            self._fail(error)
        return taken

    def _fail(self, error: StreamLost) -> None:
        self._error = self._error or error
        self._subscriber._forget(self)
        self._wake()

    def _deliver(self, group: _Group, now: float) -> None:
        self._look_at = now + self._subscriber.silence
        before = self._inbox.behind
        if self._inbox.deliver(group.list, group.index, group.frames):
            self._subscriber._want(self)
        if self._inbox.behind and not before:
            self._subscriber._on_gap()
        if len(self._inbox):
            self._wake()

    def _read(self, name: bytes | None, done: bool, start: int, frames: list[bytes], now: float) -> None:
        """The list was looked at."""
        if name is None:
            self._vanish(done, now)
            return
        self._vanished_at = None
        try:
            again = self._inbox.read(name.decode(), start, [decode(frame) for frame in frames])
        except msgspec.DecodeError:
            self._fail(StreamLost("the answer's tokens can't be read: another version of agon has written them"))
            return
        if again and frames:
            self._subscriber._want(self)
        # A list that is not yet what the channel told of it is looked at again soon, but not in a circle.
        wait = _FOLLOW if self._followed or again else self._subscriber.silence
        self._look_at = now + wait
        if len(self._inbox):
            self._wake()

    def _vanish(self, done: bool, now: float) -> None:
        """There is no list. That is no news while the request still waits in Kafka or in a worker."""
        # Where requests wait in a long line, looking for each of them often would make the line longer.
        soon = self._followed or self._inbox.begun
        self._look_at = now + (_VANISHED_LOOK if soon else self._subscriber.silence)
        if done:
            self._fail(StreamLost("the answer is over, and its tokens are no longer kept"))
        elif self._inbox.begun:
            self._vanished_at = self._vanished_at or now
            if now - self._vanished_at > self._subscriber.lost_after:
                self._fail(StreamLost("the answer's tokens were lost, and no worker has written them again"))


class Subscriber:
    """One per process, used as a context manager; `open` and `follow` from within.

    It opens also where Redis is away, and connects when it comes back. `silence`: a stream that has brought nothing for
    so long is looked up in its list, because the last message of an answer has no successor that would reveal its loss.
    `lost_after`: when a begun list that has vanished (or Redis itself) is given up; with `silence` and the time of a
    reconnect it stays below 10 s. An answer that has not begun waits for Redis four times as long. `most`: frames kept
    for a slow reader. `on_gap` is called when frames were missing.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        ingress: str,
        *,
        silence: timedelta = timedelta(seconds=2),
        lost_after: timedelta = timedelta(seconds=7),
        most: int = 256,
        on_gap: Callable[[], None] = lambda: None,
    ) -> None:
        self.silence = silence.total_seconds()
        self.lost_after = lost_after.total_seconds()
        self._redis = redis
        self._keys = keys
        self._channel = keys.tokens(ingress)
        self._most = most
        self._on_gap = on_gap
        self._streams: dict[str, list[Stream]] = {}
        self._wanted: dict[Stream, None] = {}
        self._asked = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._unreachable_since: float | None = None
        self._heard = False
        """Anything, since the channel was last asked about."""
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        loops: dict[str, Callable[[], Coroutine[Any, Any, None]]]
        loops = {"listen": self._listen, "read": self._read_lists, "watch": self._watch}
        self._tasks = [
            asyncio.create_task(_lasting(name, run), name=f"subscriber-{name}") for name, run in loops.items()
        ]
        try:
            async with asyncio.timeout(self.silence):
                await self._subscribed.wait()
        except TimeoutError:
            log.warning("not listening on %s yet: Redis does not answer", self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        # Before Python 3.12 `asyncio.wait_for`, which redis sends with, may swallow a cancel: the loops look here too.
        self._closing = True
        self._asked.set()
        await cancel_all(self._tasks)
        for stream in [stream for streams in self._streams.values() for stream in streams]:
            stream._fail(StreamLost("this process is stopping"))

    def open(self, tenant: str, request_id: str) -> Stream:
        """Listen to a request whose `reply_to` is this process. Before its record is produced."""
        return self._start(Stream(self, tenant, request_id, False, self._most), self.silence)

    def follow(self, tenant: str, request_id: str) -> Stream:
        """Read a stream that another process has started, from its beginning, by its list."""
        return self._start(Stream(self, tenant, request_id, True, self._most), 0)

    def _start(self, stream: Stream, look_in: float) -> Stream:
        stream._look_at = asyncio.get_running_loop().time() + look_in
        self._streams.setdefault(stream.key, []).append(stream)
        if not look_in:
            self._want(stream)
        return stream

    def _forget(self, stream: Stream) -> None:
        streams = self._streams.get(stream.key, [])
        if stream in streams:
            streams.remove(stream)
            if not streams:
                del self._streams[stream.key]
        self._wanted.pop(stream, None)

    def _want(self, stream: Stream) -> None:
        if stream in self._streams.get(stream.key, ()):
            self._wanted[stream] = None
            self._asked.set()

    async def _listen(self) -> None:
        while not self._closing:
            wire = Wire(self._redis, self._hear)
            try:
                await wire.open()
                wire.send("SUBSCRIBE", self._channel)
                await self._last(wire)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("the channel %s is cut, connecting again: %s", self._channel, error)
            finally:
                await wire.close()
            await asyncio.sleep(_RECONNECT)

    async def _last(self, wire: Wire) -> None:
        """Raises redis' errors once the channel is lost, or says nothing although it is asked."""
        pinged = False
        while True:
            self._heard = False
            await asyncio.wait([wire.over], timeout=_CHANNEL_SILENCE)
            if wire.over.done():
                raise ConnectionError("the connection was lost")
            if self._heard:
                pinged = False
            elif pinged:
                raise TimeoutError("no answer to a ping")
            else:
                pinged = True
                wire.send("PING")

    def _hear(self, reply: Reply) -> None:
        self._heard = True
        match reply:
            case [b"message", _, data]:
                self._receive(data, asyncio.get_running_loop().time())
            case [b"subscribe", *_]:
                # Also after each reconnect, during which anything may have been missed.
                self._subscribed.set()
                for streams in self._streams.values():
                    for stream in streams:
                        self._want(stream)
            case RedisError():
                raise reply  # the connection ends with it, as it does with a reply that can't be read

    def _receive(self, data: bytes, now: float) -> None:
        self._unreachable_since = None  # it has just been heard, which no list need tell
        try:
            groups = _groups.decode(data)
        except msgspec.DecodeError as error:
            log.warning("a message on %s is none of ours: %s", self._channel, error)
            return
        for group in groups:
            for stream in self._streams.get(group.request, ()):
                stream._deliver(group, now)

    async def _watch(self) -> None:
        """Look after streams that are silent, and give all up when Redis is away for too long."""
        now = asyncio.get_running_loop().time
        while not self._closing:
            await asyncio.sleep(_TICK)
            away = 0.0 if self._unreachable_since is None else now() - self._unreachable_since
            for stream in [stream for streams in self._streams.values() for stream in streams]:
                if now() >= stream._patient_until:
                    stream._wake(False)
                if away > self.lost_after * (1 if stream._inbox.begun else _UNBEGUN):
                    stream._fail(StreamLost("the answer's tokens can't be reached: Redis does not answer"))
                elif now() >= stream._look_at and stream._inbox.hungry:
                    stream._look_at = now() + self.silence
                    self._want(stream)

    async def _read_lists(self) -> None:
        now = asyncio.get_running_loop().time
        while not self._closing:
            await self._asked.wait()
            batch = list(self._wanted)[:_READ_AT_ONCE]
            for stream in batch:
                del self._wanted[stream]
            if not self._wanted and not self._closing:
                self._asked.clear()
            try:
                await self._read(batch)
                self._unreachable_since = None
            except (RedisError, OSError, TimeoutError) as error:
                if self._unreachable_since is None:
                    self._unreachable_since = now()
                    log.warning("lists can't be read at the moment: %s", error)
                for stream in batch:
                    self._want(stream)
                await asyncio.sleep(_RECONNECT)

    async def _read(self, batch: list[Stream]) -> None:
        # A list and its name belong together: one transaction reads both.
        starts = [stream._inbox.received for stream in batch]
        async with self._redis.pipeline(transaction=True) as pipe:
            for stream, start in zip(batch, starts, strict=True):
                key = stream.tenant, stream.request_id
                pipe.hget(self._keys.owner(*key), "list")
                pipe.lrange(self._keys.frames(*key), start, start + PAGE - 1)
                pipe.exists(self._keys.done(*key))
            replies = await pipe.execute()
        now = asyncio.get_running_loop().time()
        for i, (stream, start) in enumerate(zip(batch, starts, strict=True)):
            name, frames, done = replies[3 * i : 3 * i + 3]
            stream._read(name, bool(done), start, frames, now)


async def _lasting(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a loop to its end, again when it breaks: otherwise every stream would hang."""
    while True:
        try:
            return await run()
        except Exception:
            log.exception("the subscriber's %s loop broke, starting it again", name)
            await asyncio.sleep(_RECONNECT)
