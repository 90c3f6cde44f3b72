"""What uvicorn writes, as it goes out."""

import asyncio
from typing import Any

from agon_ingress.http.server import Joining

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire:
    """A transport that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def write_eof(self) -> None:
        self.told.append("eof")

    def close(self) -> None:
        self.told.append("close")

    def is_closing(self) -> bool:
        return "close" in self.told


def joining() -> tuple[Any, Wire]:
    wire = Wire()
    made: Any = wire
    return Joining(made), wire


async def test_a_head_goes_out_with_what_is_written_behind_it() -> None:
    transport, wire = joining()
    transport.write(HEAD)
    transport.write(b"one")
    transport.write(b"two")
    assert wire.told == [HEAD + b"one", b"two"]


async def test_a_head_with_nothing_behind_it_goes_out_at_once_too() -> None:
    transport, wire = joining()
    transport.write(HEAD)
    await asyncio.sleep(0)
    transport.write(b"late")
    assert wire.told == [HEAD, b"late"]


async def test_a_head_for_a_client_that_has_left_is_dropped() -> None:
    transport, wire = joining()
    transport.write(HEAD)
    wire.close()
    await asyncio.sleep(0)
    assert wire.told == ["close"]


async def test_a_connection_that_ends_has_sent_its_head() -> None:
    transport, wire = joining()
    transport.write(HEAD)
    transport.write_eof()
    transport.write(HEAD)
    transport.close()
    await asyncio.sleep(0)
    assert wire.told == [HEAD, "eof", HEAD, "close"]
    assert transport.is_closing()
