"""All turns that run in this process: those it began, and those it took over from another ingress."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from redis.exceptions import RedisError

from agon.arena.battle import Side as SideName
from agon.arena.pacing import Rates, Rules
from agon.bus.headers import event_headers
from agon.errors import Unavailable
from agon.messages import BattleTurnFinished, now
from agon.store import battles
from agon.store.battles import BattleRow, SideEnd, TurnRow
from agon.store.pool import classify
from agon.tasks import cancel_all
from agon_ingress.arena.side import Frames
from agon_ingress.arena.turn import NEVER_BEGAN, Diary, Turn
from agon_ingress.asking.generation import Generation
from agon_ingress.house import House

log = logging.getLogger(__name__)

Key = tuple[str, str, int]
T = TypeVar("T")

MOST_TAKEN_OVER = 256
RECENT = timedelta(minutes=10)
"""How far back a starting ingress looks for turns that nobody finished; older ones wait for their client to ask."""
OLD_TIMEOUT = 2.0
"""Seconds for which a turn past its requests' deadline is looked for in Redis: nobody writes it any more."""
PATIENCE = 30.0
"""Seconds for which a write to Postgres is tried again."""


class Turns:
    """Owns one task per running turn. Enter it once; leaving cuts what still runs, for another process to go on."""

    def __init__(self, house: House, rules: Rules) -> None:
        self._house = house
        self._rules = rules
        self._rates = Rates()
        self._live: dict[Key, Turn] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._own(self._recover(), "arena-recover")
        try:
            yield
        finally:
            await cancel_all(self._tasks)

    def begin(self, battle: BattleRow, turn: TurnRow, a: Generation, b: Generation) -> None:
        """Run a turn whose two requests were just sent; the generations are closed here."""

        async def frames_a() -> Frames:
            return a

        async def frames_b() -> Frames:
            return b

        self._start(battle, turn, frames_a, frames_b, time.monotonic(), self._rules)

    async def give_up(self, battle: BattleRow, turn: TurnRow, a: SideEnd, b: SideEnd) -> None:
        """A turn whose requests could not both be sent has ended before it began."""
        if await battles.finish_turn(self._house.pool, turn.tenant, turn.battle_id, turn.turn, a, b):
            await self._announce(battle, turn, {"a": a, "b": b})

    async def find(self, battle: BattleRow, row: TurnRow) -> Turn:
        """The turn: running here, or told again from its row, or taken over by following what its workers write.

        Raises `Unavailable` when too many are being taken over.
        """
        live = self._live.get((row.tenant, row.battle_id, row.turn))
        if live is not None:
            return live
        if row.done_at is not None:
            told = Turn(battle.model_a, battle.model_b, self._rules, self._rates)
            told.replay(*_ends(row))
            return told
        if len(self._live) >= MOST_TAKEN_OVER + self._house.settings.max_concurrent_requests:
            raise Unavailable("Too many battles are being taken over at once. Try again shortly.")
        rules = self._rules
        if now() - row.created_at > self._house.settings.default_deadline:
            rules = replace(rules, start_timeout=OLD_TIMEOUT)
        return self._start(battle, row, self._follow(row, row.request_a), self._follow(row, row.request_b), None, rules)

    def _start(
        self,
        battle: BattleRow,
        row: TurnRow,
        frames_a: Callable[[], Awaitable[Frames]],
        frames_b: Callable[[], Awaitable[Frames]],
        asked_at: float | None,
        rules: Rules,
    ) -> Turn:
        turn = Turn(battle.model_a, battle.model_b, rules, self._rates)
        if row.status != "running":  # the answers are stored, only their showing was cut
            for side, end in zip((turn.a, turn.b), _ends(row), strict=True):
                side.tell(end.answer, end.finish, end.error)
        key = (row.tenant, row.battle_id, row.turn)
        self._live[key] = turn
        self._own(self._run(key, turn, battle, row, frames_a, frames_b, asked_at), f"battle-{row.battle_id}")
        return turn

    async def _run(
        self,
        key: Key,
        turn: Turn,
        battle: BattleRow,
        row: TurnRow,
        frames_a: Callable[[], Awaitable[Frames]],
        frames_b: Callable[[], Awaitable[Frames]],
        asked_at: float | None,
    ) -> None:
        try:
            await turn.run(frames_a, frames_b, self._diary(battle, row), asked_at)
        finally:
            del self._live[key]
        for side, request_id in ((turn.a, row.request_a), (turn.b, row.request_b)):
            if side.error == NEVER_BEGAN:
                await self._stop(row.tenant, request_id, side.model)

    async def _stop(self, tenant: str, request_id: str, model: str) -> None:
        """Nobody waits for this answer any more. With Redis away, its deadline will end it."""
        try:
            async with asyncio.timeout(self._house.settings.probe_timeout.total_seconds()):
                await self._house.gate.cancel(tenant, request_id, model)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("could not cancel %s/%s: %s", tenant, request_id, error)

    def _diary(self, battle: BattleRow, row: TurnRow) -> Diary:
        key = (row.tenant, row.battle_id, row.turn)
        pool = self._house.pool

        async def finished(a: SideEnd, b: SideEnd) -> None:
            if await _patiently(lambda: battles.finish_turn(pool, *key, a, b)):
                await self._announce(battle, row, {"a": a, "b": b})

        return Diary(
            shown=lambda pace: _patiently(lambda: battles.mark_shown(pool, *key, pace)),
            finished=finished,
            done=lambda: _patiently(lambda: battles.mark_done(pool, *key)),
        )

    async def _announce(self, battle: BattleRow, row: TurnRow, ends: dict[SideName, SideEnd]) -> None:
        """Tell Kafka. The row is the truth: a lost event is only logged."""
        event = BattleTurnFinished(
            battle_id=row.battle_id,
            tenant=row.tenant,
            arena=battle.arena,
            turn=row.turn,
            status={side: "finished" if end.error is None else "failed" for side, end in ends.items()},
            finished_at=now(),
        )
        try:
            await self._house.producer.produce(
                self._house.settings.topics.battles,
                event.encode(),
                key=row.battle_id.encode(),
                headers=event_headers(event, id=f"{row.battle_id}-{row.turn}", source=self._house.ingress_id),
            )
        except Unavailable as error:
            log.warning("the end of battle %s turn %d is not on Kafka: %s", row.battle_id, row.turn, error)

    def _follow(self, row: TurnRow, request_id: str) -> Callable[[], Awaitable[Frames]]:
        async def frames() -> Frames:
            return self._house.subscriber.follow(row.tenant, request_id)

        return frames

    async def _recover(self) -> None:
        """Take over what a process that died left unfinished, while its frames are still in Redis. Where the other
        process lives after all, both do the same, and the first one's writes count."""
        try:
            for tenant, battle_id, number in await battles.unfinished_turns(
                self._house.pool, now() - RECENT, MOST_TAKEN_OVER
            ):
                found = await battles.read_battle(self._house.pool, tenant, battle_id)
                if found is not None:
                    battle, turns = found
                    await self.find(battle, turns[number - 1])
        except Exception as error:
            if not isinstance(error, Unavailable) and classify(error) != "transient":
                raise
            log.info("unfinished battles wait for their voters: %s", error)

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s broke", task.get_name(), exc_info=error)


def _ends(row: TurnRow) -> tuple[SideEnd, SideEnd]:
    return (
        SideEnd(row.answer_a or "", row.finish_a, row.error_a, None, None, None),
        SideEnd(row.answer_b or "", row.finish_b, row.error_b, None, None, None),
    )


async def _patiently(write: Callable[[], Awaitable[T]]) -> T:
    """The write, again for a while when Postgres is away: an answer that was generated should not be lost to that."""
    ends_at = time.monotonic() + PATIENCE
    pause = 0.1
    while True:
        try:
            return await write()
        except Exception as error:
            if classify(error) != "transient" or time.monotonic() + pause > ends_at:
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)
