"""`/v1/responses/{id}`: read a kept response again, what it was made of, and forget it."""

import contextlib
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request

from agon.errors import Conflict, InvalidRequest, Unavailable
from agon.store import responses
from agon.store.responses import ResponseRow
from agon_ingress.bodies.openai_types import Told
from agon_ingress.bodies.pages import After, Limit, Order, Page, turn
from agon_ingress.bodies.receiving import tenant_of
from agon_ingress.house import House
from agon_ingress.recorded import named, not_found, recorded
from agon_ingress.responses.context import RUNNING, asked_with, standing
from agon_ingress.responses.events import ResponseStreamEvent
from agon_ingress.responses.following import FollowedResponse
from agon_ingress.responses.items import Item
from agon_ingress.responses.types import Response

router = APIRouter(prefix="/v1/responses", tags=["kept responses"])


class ResponseDeleted(Told):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class ResponseItemList(Page[Item]):
    """`GET /v1/responses/{response_id}/input_items`."""


_STREAMED = {"text/event-stream": {"schema": {"$ref": f"#/components/schemas/{ResponseStreamEvent.__name__}"}}}


@router.get("/{response_id}", response_model=Response, responses={200: {"content": _STREAMED}})
async def get_response(
    response_id: str,
    request: Request,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=0)] = None,
) -> Response | FollowedResponse:
    """A response as it stands now; with `stream=true` as events, those behind `starting_after`."""
    house, row = await find(request, response_id)
    return FollowedResponse(house, row, starting_after) if stream else await standing(house, row)


@router.post("/{response_id}/cancel")
async def cancel_response(response_id: str, request: Request) -> Response:
    """Stop a background response in the engine. One that has ended stays as it is."""
    house, row = await find(request, response_id)
    if not row.background:
        raise InvalidRequest("Only a background response can be cancelled.", code="not_a_background_response")
    now = await standing(house, row)
    if now.status not in (*RUNNING, "cancelled"):
        return now
    house.health.require("redis")
    await responses.cancel(house.pool, row.tenant, row.response_id)
    await house.gate.cancel(row.tenant, row.response_id, row.model)
    with contextlib.suppress(Unavailable):  # a record that nobody has taken up yet is ended later
        await recorded(house, row.tenant, row.response_id)
    house, row = await find(request, response_id)
    return await standing(house, row)


@router.delete("/{response_id}")
async def delete_response(response_id: str, request: Request) -> ResponseDeleted:
    """Forget question and answer; nothing can go on from it any more. One that runs is refused (409): cancel it."""
    house, row = await find(request, response_id)
    if (
        await standing(house, row, on_record=True)
    ).status in RUNNING:  # else what it says would be recorded behind this
        raise Conflict("This response has not ended yet: cancel it first.", code="response_in_progress")
    await responses.delete(house.pool, row.tenant, row.response_id)
    return ResponseDeleted(id=response_id)


@router.get("/{response_id}/input_items")
async def list_response_input_items(
    response_id: str, request: Request, after: After = None, limit: Limit = 20, order: Order = "desc"
) -> ResponseItemList:
    """The items that it was made of: what came before, then its own input."""
    house, row = await find(request, response_id)
    return ResponseItemList.model_validate(turn(await asked_with(house, row), after, limit, order))


async def find(request: Request, response_id: str) -> tuple[House, ResponseRow]:
    """Raises `NotFound`."""
    house: House = request.app.state.house
    house.health.require("postgres")
    row = await responses.read(house.pool, tenant_of(request), named("response", response_id))
    if row is None:
        raise not_found("response", response_id)
    return house, row
