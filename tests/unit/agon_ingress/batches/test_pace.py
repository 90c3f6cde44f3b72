"""A batch's lines leave most of the time to clients."""

import asyncio
import time

import pytest

from agon_ingress.batches.pace import Pace, pause


def test_while_clients_wait_most_of_the_time_is_theirs() -> None:
    assert pause(0.002, busy=True) >= 3 * 0.002
    assert pause(5.0, busy=True) < 0.1


def test_without_clients_nothing_is_lost() -> None:
    assert pause(0.002, busy=False) == 0


async def test_between_two_clients_the_time_is_kept_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    moment, here, rests = 0.0, True, []

    async def sleep(seconds: float) -> None:
        rests.append(seconds > 0)

    monkeypatch.setattr(time, "perf_counter", lambda: moment)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = Pace(lambda: here)
    for moment, here in ((1.0, True), (1.5, False), (1.9, False), (5.0, False)):  # noqa: B007  the pace sees them
        await pace.rest()
    assert rests == [True, True, True, False]


async def test_others_get_their_turn_between_two_pieces_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    moment = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: moment)

    async def other() -> None:
        turns.append("other")

    task = asyncio.create_task(other())
    pace = Pace(lambda: False)
    await pace.rest()
    assert not turns, "nothing was done yet, nobody needs a turn"
    moment = 0.002  # a piece of work later
    await pace.rest()
    turns.append("batch")
    await task
    assert turns == ["other", "batch"]
