"""What clients had kept is forgotten when its time has passed, by one ingress at a time."""

import asyncio
import logging

from agon.store import retention
from agon.store.pool import classify
from agon_ingress.house import House

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two sweeps."""


async def sweeping(house: House) -> None:
    """For ever. While Postgres is away nothing is forgotten."""
    forgotten = house.metrics.counter("rows_forgotten")
    while True:
        if house.health.problems["postgres"] is None:
            try:
                settings = house.settings
                gone = await retention.sweep(house.pool, settings.kept_life, settings.conversation_life)
                for table, rows in gone.items():
                    forgotten.labels(table).inc(rows)
            except Exception as error:
                if classify(error) == "bug":
                    raise
                log.info("what is too old waits for Postgres: %r", error)
        await asyncio.sleep(EVERY)
