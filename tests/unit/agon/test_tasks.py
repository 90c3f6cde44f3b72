"""Tasks end, also those that a library has kept from hearing of it."""

import asyncio

import pytest

from agon import tasks


async def test_whoever_has_swallowed_its_cancel_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_AGAIN_SECONDS", 0.01)
    swallowed = asyncio.Event()

    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed.is_set():
                    raise
                swallowed.set()

    async def failing() -> None:
        raise OSError("gone before")

    ending = [asyncio.create_task(deaf()), asyncio.create_task(failing())]
    await asyncio.sleep(0)
    await tasks.cancel_all(ending)
    assert swallowed.is_set()
    assert [task.done() for task in ending] == [True, True]
    await tasks.cancel_all([])


async def test_a_cancel_that_comes_as_something_was_sent_is_heard_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What redis' client does with each command, for ever: whenever the cancel comes, it ends."""
    monkeypatch.setattr(tasks, "_AGAIN_SECONDS", 0.01)

    async def send() -> None:
        pass

    async def sending() -> None:
        while True:
            await asyncio.wait_for(send(), 60)
            await asyncio.sleep(0.1)  # the answer

    for turns in range(6):
        task = asyncio.create_task(sending())
        for _ in range(turns):
            await asyncio.sleep(0)
        await tasks.cancel_all([task])
        assert task.cancelled()
