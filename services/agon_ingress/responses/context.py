"""Kept responses with what came before them, out of Postgres."""

from collections.abc import Mapping, Sequence

from agon.errors import Conflict, InvalidRequest, NotFound
from agon.messages import GenerationCompleted, now
from agon.messages.base import ID_REGEX
from agon.store import conversations, requests, responses
from agon.store.responses import ResponseRow
from agon_ingress.house import House
from agon_ingress.recorded import named, not_found, recorded
from agon_ingress.responses.items import Item, Items, read_items, response_of
from agon_ingress.responses.mapping import speech
from agon_ingress.responses.state import begun, cancelled, ended, expired, items, told
from agon_ingress.responses.types import Response

MOST_BACK = 1024
"""Responses that one may go on from, one behind the other."""
MOST_ENTRIES = 4096
"""Items and responses of one conversation: as many as a chat may have messages."""
RUNNING = ("in_progress", "queued")


async def standing(house: House, row: ResponseRow, *, on_record: bool = False) -> Response:
    """A response as it stands now; `on_record`: not before its end is recorded, where it has one. Raises `Unavailable`
    where that takes long."""
    ends = await requests.ended(house.pool, row.tenant, [row.response_id])
    return await _standing(house, row, ends, on_record)


async def _standing(
    house: House, row: ResponseRow, ends: Mapping[str, GenerationCompleted], on_record: bool = False
) -> Response:
    if (end := ends.get(row.response_id)) is not None:
        return ended(row, end)
    first, last = await house.gate.edges(row.tenant, row.response_id)
    if last is not None and last.kind == "final":
        # Whoever goes on from an answer does so at once, and need not wait until it is recorded.
        frames = () if on_record else await house.gate.frames(row.tenant, row.response_id)
        if frames and frames[-1].kind == "final":
            return told(row, speech(begun(row), house.registry.cards.get(row.model)), frames)
        return ended(row, await recorded(house, row.tenant, row.response_id))
    if row.cancelled_at is not None:
        return cancelled(row)
    if now() > row.deadline + house.settings.deadline_grace:
        return expired(row)
    return begun(row) if first is None else begun(row).model_copy(update={"status": "in_progress"})


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


async def outputs(house: House, tenant: str, item_ids: Sequence[str]) -> Mapping[str, Item]:
    """Items of kept responses' outputs, by their ids. Raises `NotFound` for one that is not there (any more), and
    `Conflict` where its response has not ended."""
    house.health.require("postgres")
    wanted = {named for named in map(response_of, item_ids) if named is not None}
    rows = await responses.some(house.pool, tenant, sorted(wanted))
    ends = await _ends(house, tenant, rows)
    found: dict[str, Item] = {item.id: item for row in rows for item in (await _ended(house, row, ends)).output}
    for item_id in item_ids:
        if item_id not in found:
            raise NotFound(f"Item with id '{item_id[:80]}' not found: it is kept with its response.", param="input")
    return found


async def so_far(house: House, tenant: str, conversation_id: str) -> Items:
    """All items of a conversation. Raises `NotFound`, and `Conflict` while a response of it is running."""
    house.health.require("postgres")
    named("conversation", conversation_id)
    if await conversations.read(house.pool, tenant, conversation_id) is None:
        raise not_found("conversation", conversation_id)
    return tuple(item for _, item in await placed(house, tenant, conversation_id, locked=True))


async def placed(
    house: House, tenant: str, conversation_id: str, until: str | None = None, *, locked: bool = False
) -> Sequence[tuple[int, Item]]:
    """The items of a conversation (those before the response `until`), each with the number of its entry.

    A response adds its items once it has ended well. Raises `Conflict` for one that is running, where `locked`.
    """
    entries = await conversations.entries(house.pool, tenant, conversation_id, until, MOST_ENTRIES)
    ends = await _ends(house, tenant, [entry.response for entry in entries if entry.response is not None])
    found: list[tuple[int, Item]] = []
    for entry in entries:
        if entry.item is not None:
            found += [(entry.entry, item) for item in read_items(f"[{entry.item}]")]
        elif entry.response is not None:
            response = await _standing(house, entry.response, ends)
            if locked and response.status in RUNNING and await _taken(house, entry.response):
                raise Conflict(
                    "Another response is under way in this conversation. Try again when it has ended.",
                    code="conversation_locked",
                )
            if response.status in ("completed", "incomplete"):
                added = items(entry.response, response)
                found += [(entry.entry, item) for item in added if item.id not in entry.removed]
    return found


async def asked_with(house: House, row: ResponseRow) -> Items:
    """The items that a response was made of, as far as they are still kept: all before it, and its own input."""
    if row.conversation_id is not None:
        earlier = await placed(house, row.tenant, row.conversation_id, row.response_id)
        return (*(item for _, item in earlier), *read_items(row.items))
    chain = () if row.previous_id is None else await responses.chain(house.pool, row.tenant, row.previous_id, MOST_BACK)
    return (*await _said(house, chain), *read_items(row.items))


async def _said(house: House, rows: Sequence[ResponseRow]) -> Items:
    said: list[Items] = []
    ends = await _ends(house, rows[0].tenant, rows) if rows else {}
    for row in rows:
        response = await _ended(house, row, ends)
        before_it = await asked_with(house, row) if row.conversation_id is not None else read_items(row.items)
        said.append((*before_it, *response.output))
    return tuple(item for some in said for item in some)


async def _ended(house: House, row: ResponseRow, ends: Mapping[str, GenerationCompleted]) -> Response:
    response = await _standing(house, row, ends)
    if response.status in RUNNING:
        raise Conflict(f"The response '{row.response_id}' has not ended yet.", code="response_in_progress")
    return response


async def _ends(house: House, tenant: str, rows: Sequence[ResponseRow]) -> Mapping[str, GenerationCompleted]:
    return await requests.ended(house.pool, tenant, [row.response_id for row in rows])


async def _taken(house: House, row: ResponseRow) -> bool:
    """Whether a worker has it, or will have: one that nobody waits for may never have been sent."""
    first, _ = await house.gate.edges(row.tenant, row.response_id)
    return row.background or first is not None


def _not_found(response_id: str) -> InvalidRequest:
    return InvalidRequest(
        f"Previous response with id '{response_id[:80]}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
