"""What all clients of Kafka share."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import InvalidTopicError, KafkaConnectionError, UnknownMemberIdError

from agon.bus.clients import commit, not_served

MARKS = {TopicPartition("t", 0): 1}


class Stalled:
    """A consumer whose broker answers a commit late, with an error; as aiokafka does it."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()

    async def commit(self, marks: Any) -> None:
        await asyncio.shield(self._do_commit_offsets())

    async def _do_commit_offsets(self) -> None:
        await self.answered.wait()
        raise UnknownMemberIdError


async def test_a_commit_that_fails_after_its_time_is_no_error_in_the_log() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    consumer = Stalled()
    with pytest.raises(TimeoutError):
        await commit(consumer, MARKS, 0.01)  # type: ignore[arg-type]
    (shielded,) = asyncio.all_tasks() - {asyncio.current_task()}
    consumer.answered.set()
    await asyncio.wait({shielded})
    del shielded
    gc.collect()
    assert told == []


async def test_a_commit_that_fails_in_time_says_so() -> None:
    consumer = Stalled()
    consumer.answered.set()
    with pytest.raises(UnknownMemberIdError):
        await commit(consumer, MARKS, 5)  # type: ignore[arg-type]


def test_the_request_that_is_shielded_has_this_name() -> None:
    assert asyncio.iscoroutinefunction(GroupCoordinator._do_commit_offsets)


def test_an_operator_is_told_where_kafka_is_looked_for_and_what_it_said() -> None:
    gone = KafkaConnectionError("Unable to bootstrap from [('k', 1, <AddressFamily.AF_INET: 2>)]")
    for error in (gone, TimeoutError(), OSError(111, "refused")):
        assert not_served("k:1", error).message == "Kafka does not answer at k:1: check AGON_KAFKA_URL"
    told = not_served("k:1", InvalidTopicError("no such name")).message
    assert told == "Kafka at k:1 refuses: [Error 17] InvalidTopicError: no such name"
