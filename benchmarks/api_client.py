"""A load client that costs next to nothing: requests laid out before, over connections that stay open."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

_END = b"0\r\n\r\n"  # of a body in chunks


@dataclass(frozen=True)
class Call:
    """A request to be made many times, and the bytes at which its answer begins to say something."""

    path: str
    body: dict[str, Any]
    mark: bytes = b"word"

    def encode(self, host: str) -> bytes:
        data = orjson.dumps(self.body)
        head = f"POST {self.path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        return f"{head}authorization: Bearer none\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


class Connection(asyncio.Protocol):
    """Asks, and waits for the whole answer, again and again."""

    def __init__(self) -> None:
        self._read = bytearray()
        self._size = 0
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio

    async def ask(self, request: bytes, mark: bytes) -> float:
        """Seconds until the answer began to say something; returns when all of it is there. Raises `SystemExit` for an
        answer that is an error, or says nothing."""
        self._read.clear()
        self._size = 0
        self._mark, self._marked_at = mark, 0.0
        self._done = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._transport.write(request)
        await self._done
        if not self._read.startswith(b"HTTP/1.1 200") or not self._marked_at:
            raise SystemExit(f"no answer: {bytes(self._read[:2000])!r}")
        return self._marked_at - began

    @property
    def answer(self) -> bytes:
        """All that was read of the last answer."""
        return bytes(self._read)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._marked_at and self._mark in self._read:
            self._marked_at = time.perf_counter()
        if not self._size:
            self._size = self._whole_size()
        whole = self._read.endswith(_END) if self._size < 0 else 0 < self._size <= len(self._read)
        if whole and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error or ConnectionError(f"the connection was closed after {bytes(self._read)!r}"))

    def _whole_size(self) -> int:
        """Bytes of head and body; -1 for a body in chunks, 0 while the head is not there."""
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return 0
        head = bytes(self._read[:end]).lower()
        _, found, after = head.partition(b"content-length:")
        return end + 4 + int(after.split(b"\r\n", 1)[0]) if found else -1


async def connect(address: tuple[str, int], count: int) -> list[Connection]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Connection, *address))[1] for _ in range(count)]


async def one_at_a_time(address: tuple[str, int], call: Call, count: int) -> list[float]:
    """Seconds until each of so many answers began to say something."""
    (connection,) = await connect(address, 1)
    request = call.encode(address[0])
    try:
        return [await connection.ask(request, call.mark) for _ in range(count)]
    finally:
        connection.close()


async def at_once(address: tuple[str, int], call: Call, connections: int, seconds: float) -> tuple[int, float]:
    """Closed loop: so many connections that each ask again as soon as they have their answer. How many answers came,
    and in how many seconds."""
    asking = await connect(address, connections)
    request = call.encode(address[0])
    began = time.perf_counter()

    async def again(connection: Connection) -> int:
        answered = 0
        while time.perf_counter() < began + seconds:
            await connection.ask(request, call.mark)
            answered += 1
        return answered

    try:
        answered: Sequence[int] = await asyncio.gather(*map(again, asking))
        return sum(answered), time.perf_counter() - began
    finally:
        for connection in asking:
            connection.close()
