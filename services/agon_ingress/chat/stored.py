"""Chat completions that were asked with `store: true`: list, get, change, delete, and the messages of one."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from agon.errors import InvalidRequest
from agon.messages import GenerationCompleted, now
from agon.store import requests, stored_chats
from agon.store.stored_chats import StoredChat
from agon_ingress.bodies.openai_types import MetadataUpdate
from agon_ingress.bodies.pages import After, Limit, Order, cut, possible, turn, unknown_after
from agon_ingress.bodies.receiving import receive, takes, tenant_of
from agon_ingress.chat.stored_types import (
    ChatCompletionDeleted,
    ChatCompletionList,
    StoredMessageList,
    messages_of,
    told,
)
from agon_ingress.chat.types import ChatCompletion
from agon_ingress.house import House
from agon_ingress.recorded import named, not_found, recorded

router = APIRouter(prefix="/v1/chat/completions", tags=["stored chat completions"])

_METADATA = re.compile(r"metadata\[([^\x00]{1,64})\]")
WHAT = "stored chat completion"


@router.get("")
async def list_chat_completions(
    request: Request,
    after: After = None,
    limit: Limit = 20,
    order: Order = "asc",
    model: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
) -> ChatCompletionList:
    """Those that have finished, by the time of their request; `metadata[KEY]=VALUE` finds those that have it."""
    house, tenant = _house(request), tenant_of(request)
    metadata = {found[1]: value for name, value in request.query_params.items() if (found := _METADATA.fullmatch(name))}
    if any("\0" in value for value in metadata.values()):
        raise InvalidRequest("metadata: a value can't hold the character NUL", param="metadata", code="invalid_value")
    if after is not None and await stored_chats.read(house.pool, tenant, possible(after)) is None:
        raise unknown_after(after)
    chats = await stored_chats.finished(
        house.pool,
        tenant,
        model=model,
        metadata=metadata,
        after=after,
        most=limit + 1,
        descending=order == "desc",
    )
    ends = await requests.ended(house.pool, tenant, [chat.completion_id for chat in chats])
    completions = [told(chat, ends[chat.completion_id]) for chat in chats if chat.completion_id in ends]
    return ChatCompletionList.model_validate(cut(completions, limit))


@router.get("/{completion_id}")
async def get_chat_completion(completion_id: str, request: Request) -> ChatCompletion:
    """One, as it was answered."""
    return told(*await _find(request, completion_id))


@router.post("/{completion_id}")
@takes(MetadataUpdate)
async def update_chat_completion(completion_id: str, request: Request, response: Response) -> ChatCompletion:
    """Give it other metadata: all that it has."""
    chat, end = await _find(request, completion_id)
    asked, headers, _ = await receive(request, MetadataUpdate, _house(request).settings)
    response.headers.update(headers)
    await stored_chats.update(_house(request).pool, chat.tenant, chat.completion_id, asked.metadata)
    return told(chat, end).model_copy(update={"metadata": asked.metadata})


@router.delete("/{completion_id}")
async def delete_chat_completion(completion_id: str, request: Request) -> ChatCompletionDeleted:
    """Forget question and answer. Their token counts stay."""
    chat, _ = await _find(request, completion_id)
    await stored_chats.delete(_house(request).pool, chat.tenant, chat.completion_id)
    return ChatCompletionDeleted(id=completion_id)


@router.get("/{completion_id}/messages")
async def list_chat_completion_messages(
    completion_id: str, request: Request, after: After = None, limit: Limit = 20, order: Order = "asc"
) -> StoredMessageList:
    """What was asked, message by message."""
    chat, _ = await _find(request, completion_id)
    return StoredMessageList.model_validate(turn(messages_of(chat), after, limit, order))


def _house(request: Request) -> House:
    house: House = request.app.state.house
    house.health.require("postgres")
    return house


async def _find(request: Request, completion_id: str) -> tuple[StoredChat, GenerationCompleted]:
    """Raises `NotFound` for one that is not there, or has not finished well, and `Unavailable` for one that has not
    ended yet."""
    house, tenant = _house(request), tenant_of(request)
    chat = await stored_chats.read(house.pool, tenant, named(WHAT, completion_id))
    if chat is None or now() - chat.created_at > house.settings.longest_deadline:
        ends = {} if chat is None else await requests.ended(house.pool, tenant, [completion_id])
        end = ends.get(completion_id)
    else:
        end = await recorded(house, tenant, completion_id)
    if chat is None or end is None or end.status != "finished":
        raise not_found(WHAT, completion_id)
    return chat, end
