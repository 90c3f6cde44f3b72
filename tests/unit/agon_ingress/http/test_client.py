"""Work goes on only while the client is there."""

import asyncio

import pytest

from agon_ingress.http.client import ClientGone, while_connected


class Connection:
    """An ASGI `receive` whose client leaves when told."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self) -> dict:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        return 3

    assert await while_connected(Connection(), work()) == 3


async def test_what_work_raises_is_raised() -> None:
    async def work() -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await while_connected(Connection(), work())


async def test_when_the_client_leaves_the_work_is_stopped_and_cleans_up() -> None:
    connection = Connection()
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            connection.left.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    with pytest.raises(ClientGone):
        await while_connected(connection, work())
    assert cleaned.is_set()


async def test_when_the_server_stops_the_work_is_stopped_too() -> None:
    cleaned = asyncio.Event()
    running = asyncio.Event()

    async def work() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    task = asyncio.create_task(while_connected(Connection(), work()))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()


async def test_a_connection_that_breaks_is_a_client_that_has_left() -> None:
    async def broken() -> dict:
        raise OSError("reset")

    with pytest.raises(ClientGone):
        await while_connected(broken, asyncio.Event().wait())


async def test_whoever_waited_for_a_client_that_left_goes_on() -> None:
    connection = Connection()
    connection.left.set()
    with pytest.raises(ClientGone):
        await while_connected(connection, asyncio.Event().wait())
    async with asyncio.timeout(1):  # which would count a cancellation that is still open as its own
        await asyncio.sleep(0.01)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_client_that_leaves_is_no_timeout_of_the_work() -> None:
    connection = Connection()

    async def work() -> None:
        async with asyncio.timeout(60):
            connection.left.set()
            await asyncio.Event().wait()

    with pytest.raises(ClientGone):
        await while_connected(connection, work())


async def test_when_client_and_server_leave_at_once_the_server_has_its_way() -> None:
    connection = Connection()
    running = asyncio.Event()

    async def work() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            task.cancel()

    task = asyncio.create_task(while_connected(connection, work()))
    await running.wait()
    connection.left.set()
    with pytest.raises(asyncio.CancelledError):
        await task
