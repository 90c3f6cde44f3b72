"""Moves batches on, beside the HTTP API of every ingress. All that must be kept is in Postgres: any process can go on
where another one died."""

import asyncio
import logging
import uuid
from datetime import timedelta

from redis.exceptions import RedisError

from agon.errors import Fenced, Unavailable
from agon.store import batches
from agon.store.batches import Hold
from agon.store.pool import classify
from agon.tasks import cancel_all
from agon_ingress.batches.run import BatchRun
from agon_ingress.house import House

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=10)
"""So long after its last sign of life a driver's batches are taken over."""
MOST = 16
"""Batches that a process drives at once; the oldest go first."""
_LOOK_EVERY = 0.5


class Driver:
    """`run` it for ever; `wake` it when there is a new batch."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._id = uuid.uuid4()
        self._driven: dict[asyncio.Task[None], Hold] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        try:
            while True:
                if self._house.health.problems["postgres"] is None:
                    await self._look()
                self._woken.clear()
                try:
                    async with asyncio.timeout(_LOOK_EVERY):
                        await self._woken.wait()
                except TimeoutError:
                    pass
        finally:
            await self._let_go()

    async def _look(self) -> None:
        """Take on what nobody drives. Postgres may go away at any moment: then it waits."""
        self._driven = {task: hold for task, hold in self._driven.items() if not task.done()}
        try:
            if self._house.registry.loaded.is_set() and len(self._driven) < MOST:
                for row in await batches.claim(self._house.pool, self._id, LEASE, MOST - len(self._driven)):
                    hold = Hold(self._house.pool, self._id, LEASE, row.tenant, row.batch_id)
                    run = BatchRun(self._house, row, hold)
                    self._driven[asyncio.create_task(_driven(run), name=row.batch_id)] = hold
        except Exception as error:
            if classify(error) == "bug":
                raise
            log.info("batches wait for Postgres: %r", error)

    async def _let_go(self) -> None:
        """At the end of this process: others take over at once."""
        await cancel_all(self._driven)
        await asyncio.gather(*(hold.release() for hold in self._driven.values()), return_exceptions=True)


async def _driven(run: BatchRun) -> None:
    """To its end, or until something is away: then whoever claims it next goes on."""
    try:
        await run.run()
    except (Fenced, Unavailable, RedisError) as error:
        log.info("%s waits: %s", run.batch_id, error)
    except Exception as error:
        if classify(error) == "transient":
            log.info("%s waits: %r", run.batch_id, error)
        else:
            log.exception("%s is stuck", run.batch_id)
