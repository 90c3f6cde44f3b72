"""Kept responses with what came before them, out of Postgres."""

from collections.abc import Sequence

from agon.errors import Conflict, InvalidRequest
from agon.messages import now
from agon.messages.base import ID_REGEX
from agon.store import requests, responses
from agon.store.responses import ResponseRow
from agon_ingress.house import House
from agon_ingress.recorded import recorded
from agon_ingress.response_items import Items, read_items
from agon_ingress.response_state import begun, ended, expired, items
from agon_ingress.response_types import Response

MOST_BACK = 1024
"""Responses that one may go on from, one behind the other."""


async def standing(house: House, row: ResponseRow) -> Response:
    """A response as it stands now. Raises `Unavailable` where its end is told, but not recorded for a while."""
    if (end := (await requests.ended(house.pool, row.tenant, [row.response_id])).get(row.response_id)) is not None:
        return ended(row, end)
    _, last = await house.gate.edges(row.tenant, row.response_id)
    if last is not None and last.kind == "final":
        return ended(row, await recorded(house, row.tenant, row.response_id))
    if now() > row.deadline + house.settings.deadline_grace:
        return expired(row)
    return begun(row)


async def before(house: House, tenant: str, response_id: str) -> Items:
    """All items up to and with a response's. Raises `InvalidRequest` where it, or one before it, is not there (any
    more), and `Conflict` for one that has not ended."""
    house.health.require("postgres")
    chain = await responses.chain(house.pool, tenant, response_id, MOST_BACK) if ID_REGEX.fullmatch(response_id) else ()
    if not chain:
        raise _not_found(response_id)
    if chain[0].previous_id is not None:
        raise _not_found(chain[0].previous_id)
    return await _said(house, chain)


async def asked_with(house: House, row: ResponseRow) -> Items:
    """The items that a response was made of, as far as they are still kept: all before it, and its own input."""
    chain = () if row.previous_id is None else await responses.chain(house.pool, row.tenant, row.previous_id, MOST_BACK)
    return (*await _said(house, chain), *read_items(row.items))


async def _said(house: House, rows: Sequence[ResponseRow]) -> Items:
    told: list[Items] = []
    for row in rows:
        response = await standing(house, row)
        if response.status in ("in_progress", "queued"):
            raise Conflict(f"The response '{row.response_id}' has not ended yet.", code="response_in_progress")
        told.append(items(row, response))
    return tuple(item for some in told for item in some)


def _not_found(response_id: str) -> InvalidRequest:
    return InvalidRequest(
        f"Previous response with id '{response_id[:80]}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
