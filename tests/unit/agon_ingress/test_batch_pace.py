"""A batch's lines leave most of the time to clients."""

import asyncio
import time

from agon_ingress.batch_pace import Pace, pause


def test_while_clients_wait_most_of_the_time_is_theirs() -> None:
    assert pause(0.002, busy=True) >= 3 * 0.002
    assert pause(5.0, busy=True) < 0.1


def test_without_clients_nothing_is_lost() -> None:
    assert pause(0.002, busy=False) == 0


def work() -> None:
    time.sleep(0.002)


async def test_others_get_their_turn_between_two_pieces_in_any_case() -> None:
    turns: list[str] = []

    async def other() -> None:
        turns.append("other")

    task = asyncio.create_task(other())
    pace = Pace(lambda: False)
    await pace.rest()
    assert not turns, "nothing was done yet, nobody needs a turn"
    work()
    await pace.rest()
    turns.append("batch")
    await task
    assert turns == ["other", "batch"]
