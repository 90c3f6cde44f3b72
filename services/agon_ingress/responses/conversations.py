"""`/v1/conversations`: items that responses go on from, and add to."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from agon.messages import now
from agon.store import conversations
from agon.store.conversations import ConversationRow
from agon_ingress.bodies.openai_types import Metadata, MetadataUpdate, Told
from agon_ingress.bodies.pages import After, Limit, Order, Page, turn
from agon_ingress.bodies.policy import Asked
from agon_ingress.bodies.receiving import receive, takes, tenant_of
from agon_ingress.house import House
from agon_ingress.recorded import named, not_found
from agon_ingress.responses.context import MOST_ENTRIES, placed
from agon_ingress.responses.input_types import InputItem, refuse_other_items, with_refusals_said
from agon_ingress.responses.items import Item, Items, items_of

router = APIRouter(prefix="/v1/conversations", tags=["conversations"])

Added = Annotated[tuple[InputItem, ...], Field(max_length=20, fail_fast=True)]


class _WithItems(Asked):
    """What brings items along, at most 20 at a time."""

    @classmethod
    def refuse_within(cls, raw: Mapping[str, Any]) -> None:
        refuse_other_items(raw.get("items"), "items")

    @classmethod
    def amend(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "items": with_refusals_said(given["items"])} if "items" in given else given


class NewConversation(_WithItems):
    """`POST /v1/conversations`."""

    items: Added = ()
    metadata: Metadata = {}


class NewItems(_WithItems):
    """`POST /v1/conversations/{conversation_id}/items`."""

    items: Annotated[Added, Field(min_length=1)]


class Conversation(Told):
    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]


class ConversationDeleted(Told):
    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: Literal[True] = True


class ConversationItemList(Page[Item]):
    """Items of a conversation."""


@router.post("")
@takes(NewConversation)
async def create_conversation(request: Request, response: Response) -> Conversation:
    """A new one, empty or with items."""
    house = _house(request)
    asked, headers, _ = await receive(request, NewConversation, house.settings)
    response.headers.update(headers)
    row = ConversationRow(tenant_of(request), f"conv_{request.state.request_id}", asked.metadata, now())
    await conversations.create(house.pool, row, _written(items_of(asked.items, row.conversation_id)))
    return _told(row)


@router.get("/{conversation_id}")
async def get_conversation(conversation_id: str, request: Request) -> Conversation:
    """One."""
    return _told(await _find(request, conversation_id))


@router.post("/{conversation_id}")
@takes(MetadataUpdate)
async def update_conversation(conversation_id: str, request: Request, response: Response) -> Conversation:
    """Give it other metadata: all that it has."""
    row = await _find(request, conversation_id)
    asked, headers, _ = await receive(request, MetadataUpdate, _house(request).settings)
    response.headers.update(headers)
    await conversations.update(_house(request).pool, row.tenant, row.conversation_id, asked.metadata)
    return _told(row).model_copy(update={"metadata": asked.metadata})


@router.delete("/{conversation_id}")
async def delete_conversation(conversation_id: str, request: Request) -> ConversationDeleted:
    """Forget it. Its responses stay."""
    row = await _find(request, conversation_id)
    await conversations.delete(_house(request).pool, row.tenant, row.conversation_id)
    return ConversationDeleted(id=conversation_id)


@router.get("/{conversation_id}/items")
async def list_conversation_items(
    conversation_id: str, request: Request, after: After = None, limit: Limit = 20, order: Order = "desc"
) -> ConversationItemList:
    """What was put there, and what its responses were asked and have said."""
    items = [item for _, item in await _items(request, conversation_id)]
    return ConversationItemList.model_validate(turn(items, after, limit, order))


@router.post("/{conversation_id}/items")
@takes(NewItems)
async def create_conversation_items(conversation_id: str, request: Request, response: Response) -> ConversationItemList:
    """Put more items behind what is there."""
    row = await _find(request, conversation_id)
    asked, headers, _ = await receive(request, NewItems, _house(request).settings)
    response.headers.update(headers)
    items = items_of(asked.items, request.state.request_id)
    await conversations.append(_house(request).pool, row.tenant, row.conversation_id, _written(items), MOST_ENTRIES)
    return ConversationItemList.model_validate(turn(items, None, len(items), "asc"))


@router.get("/{conversation_id}/items/{item_id}", response_model=Item)
async def get_conversation_item(conversation_id: str, item_id: str, request: Request) -> Item:
    """One item."""
    _, item = _one(await _items(request, conversation_id), item_id)
    return item


@router.delete("/{conversation_id}/items/{item_id}")
async def delete_conversation_item(conversation_id: str, item_id: str, request: Request) -> Conversation:
    """Take an item out, also one that a response has added."""
    row = await _find(request, conversation_id)
    entry, _ = _one(await _items(request, conversation_id), item_id)
    await conversations.remove(_house(request).pool, row.tenant, row.conversation_id, entry, item_id)
    return _told(row)


def _house(request: Request) -> House:
    house: House = request.app.state.house
    house.health.require("postgres")
    return house


async def _find(request: Request, conversation_id: str) -> ConversationRow:
    row = await conversations.read(_house(request).pool, tenant_of(request), named("conversation", conversation_id))
    if row is None:
        raise not_found("conversation", conversation_id)
    return row


async def _items(request: Request, conversation_id: str) -> Sequence[tuple[int, Item]]:
    row = await _find(request, conversation_id)
    return await placed(_house(request), row.tenant, row.conversation_id)


def _one(items: Sequence[tuple[int, Item]], item_id: str) -> tuple[int, Item]:
    """Raises `NotFound`."""
    found = next((one for one in items if one[1].id == item_id), None)
    if found is None:
        raise not_found("conversation item", item_id)
    return found


def _told(row: ConversationRow) -> Conversation:
    return Conversation(id=row.conversation_id, created_at=int(row.created_at.timestamp()), metadata=row.metadata)


def _written(items: Items) -> dict[str, str]:
    return {item.id: item.model_dump_json() for item in items}
