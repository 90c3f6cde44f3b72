"""How a batch consumer meets a store that is away: it asks again, later each time."""

from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from aiokafka.errors import KafkaConnectionError

from agon.bus.batches import BatchConsumer
from agon.errors import InvalidRequest
from agon.settings import Settings


def classify(error: Exception) -> Literal["transient", "poison", "bug"]:
    return "transient" if isinstance(error, OSError) else "poison" if isinstance(error, ValueError) else "bug"


@pytest.fixture
async def consumer() -> AsyncIterator[BatchConsumer[Any]]:
    """Not connected to anything; its pauses take no time."""
    nothing: Any = None
    made: BatchConsumer[Any] = BatchConsumer(
        Settings(), ["t"], group="g", keeper=nothing, read=nothing, store=nothing, classify=classify,
        dead_letters=nothing,
    )  # fmt: skip
    yield made
    await made._consumer.stop()


@pytest.fixture
def pauses(consumer: BatchConsumer[Any], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it has paused, each time; every pause but the last one asked for is over at once."""
    told: list[float] = []

    async def pause(seconds: float) -> None:
        told.append(seconds)

    monkeypatch.setattr(consumer, "_pause", pause)
    return told


def failing(*errors: Exception) -> Any:
    """A call that fails so many times before it answers."""
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return call


async def test_pauses_double_up_to_five_seconds_and_begin_again_with_the_next_trouble(
    consumer: BatchConsumer[Any], pauses: list[float]
) -> None:
    errors = [OSError("away"), TimeoutError(), KafkaConnectionError()] * 3
    assert await consumer._persist(failing(*errors), "storing") == "answer"
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert consumer.problem is None
    pauses.clear()
    assert await consumer._persist(failing(OSError("away")), "storing") == "answer"
    assert pauses == [0.05]


async def test_what_is_in_the_way_is_told_until_it_is_over(
    consumer: BatchConsumer[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    async def pause(seconds: float) -> None:
        told.append(consumer.problem)

    monkeypatch.setattr(consumer, "_pause", pause)
    await consumer._persist(failing(OSError("away")), "storing")
    assert told == ["storing fails: OSError('away')"]


async def test_who_is_asked_to_stop_in_a_pause_gives_up(consumer: BatchConsumer[Any]) -> None:
    consumer.stop()
    assert await consumer._persist(failing(OSError("away"), OSError("away")), "storing") is None


async def test_poison_and_bugs_are_not_tried_again(consumer: BatchConsumer[Any], pauses: list[float]) -> None:
    with pytest.raises(InvalidRequest, match="it can't be stored: bad taste"):
        await consumer._persist(failing(ValueError("bad taste")), "storing")
    with pytest.raises(ZeroDivisionError):
        await consumer._persist(failing(ZeroDivisionError()), "storing")
    assert pauses == []
