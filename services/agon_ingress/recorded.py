"""How a kept request ended: the recorder writes that, shortly after the client has read its answer."""

import asyncio

from agon.errors import NotFound, Unavailable
from agon.messages import GenerationCompleted
from agon.messages.base import ID_REGEX
from agon.store import requests
from agon_ingress.house import House

PATIENCE = 5.0
"""Seconds for which the record of an answer that has just ended is waited for."""


def named(what: str, given: str) -> str:
    """An id from a path. Raises `NotFound` for what can't be one."""
    if not ID_REGEX.fullmatch(given):
        raise not_found(what, given)
    return given


def not_found(what: str, given: str) -> NotFound:
    """The same for what never was and for what belongs to another tenant."""
    return NotFound(f"No {what} found with id '{given[:80]}'.", param=None)


async def recorded(house: House, tenant: str, request_id: str) -> GenerationCompleted:
    """The end of a request that is known to have ended, or is about to. Raises `Unavailable` when nothing has been
    recorded for a while."""
    async with asyncio.timeout(PATIENCE) as limit:
        pause = 0.02
        try:
            while (end := (await requests.ended(house.pool, tenant, [request_id])).get(request_id)) is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.3)
        except asyncio.CancelledError:
            if limit.expired():
                raise Unavailable("This answer has not ended yet, or is not recorded yet. Try again shortly.") from None
            raise
    return end
