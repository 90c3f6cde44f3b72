"""Points at which a service kills itself (SIGKILL) or stops, once the function of that name was called in its process.

They are wrapped around the service's own functions from outside; the service knows nothing of it.
"""

import os
import signal
from collections import Counter
from typing import Any


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_tokens(number: signal.Signals, requests: int, tokens: int) -> None:
    """Signals a worker, once, as soon as so many requests that have not ended have so many tokens each on their lists:
    however slow whoever looks at them from outside."""
    from agon.stream.gate import Answer, Gate

    original = Gate.append
    told: Counter[str] = Counter()
    signalled = False

    async def append(self: Any, worker: Any, appends: Any) -> Any:
        nonlocal signalled
        answers = await original(self, worker, appends)
        for one, answer in zip(appends, answers, strict=True):
            if answer is Answer.OK:
                told[one.request_id] += sum(frame.tokens for frame in one.frames)
                if any(frame.kind == "final" for frame in one.frames):
                    del told[one.request_id]
        if not signalled and sum(count >= tokens for count in told.values()) >= requests:
            signalled = True
            os.kill(os.getpid(), number)
        return answers

    Gate.append = append  # type: ignore[method-assign]


def before_the_transaction() -> None:
    from agon_vote_ingest.intake import Intake

    original = Intake.store

    async def store(self: Any, votes: Any, moves: Any) -> None:
        if votes:
            die()
        await original(self, votes, moves)

    Intake.store = store  # type: ignore[method-assign]


def inside_the_transaction() -> None:
    from agon.store import votes

    original = votes.append

    async def append(connection: Any, rows: Any, leaves: Any) -> None:
        await original(connection, rows, leaves)
        if rows:
            die()

    votes.append = append


def stopped_inside_the_transaction() -> None:
    """Not dead but stopped (SIGSTOP), once, with the arena locked: whoever finds it may wake it up again."""
    from agon.store import votes

    original = votes.append
    stopped = False

    async def append(connection: Any, rows: Any, leaves: Any) -> None:
        nonlocal stopped
        await original(connection, rows, leaves)
        if rows and not stopped:
            stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)

    votes.append = append


def after_the_transaction() -> None:
    from agon_vote_ingest.intake import Intake

    original = Intake._count

    def count(self: Any, votes: Any, judged: Any) -> None:
        if judged:
            die()
        original(self, votes, judged)

    Intake._count = count  # type: ignore[method-assign]


def in_the_relay_between_votes() -> None:
    from agon.bus.record_batches import RecordBatches
    from agon_vote_ingest import relay

    relay._BATCH_BYTES = 1024  # a few votes
    original = RecordBatches._send

    async def send(self: Any, partition: int, batch: Any) -> None:
        await original(self, partition, batch)
        await self._sent[-1]  # it is on Kafka, those behind it are not
        die()

    RecordBatches._send = send  # type: ignore[method-assign]


def in_the_relay_before_its_mark() -> None:
    from agon_vote_ingest import relay

    original = relay.relay

    async def relay_and_die(pool: Any, arena: Any, publish: Any, most: int) -> int:
        async def publish_and_die(votes: Any) -> None:
            await publish(votes)
            die()

        return await original(pool, arena, publish_and_die, most)

    relay.relay = relay_and_die  # type: ignore[assignment]


def after_counting() -> None:
    from agon_rating_compute.boards import Boards

    Boards.wake = die  # type: ignore[method-assign]


def while_counting() -> None:
    from agon.store import cells

    original = cells.add

    async def add(*args: Any) -> None:
        await original(*args)
        die()

    cells.add = add


def before_announcing() -> None:
    from agon_rating_compute.boards import Boards

    Boards._announce = die  # type: ignore[method-assign, assignment]


def while_recording() -> None:
    from agon.store import requests

    original = requests.record

    async def record(connection: Any, ends: Any, **more: Any) -> int:
        new = await original(connection, ends, **more)
        if ends:
            die()
        return new

    requests.record = record
