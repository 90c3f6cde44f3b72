"""`/v1/responses/{id}`: read a kept response again, what it was made of, and forget it."""

from typing import Literal

from fastapi import APIRouter, Request

from agon.errors import Conflict
from agon.store import responses
from agon.store.responses import ResponseRow
from agon_ingress.house import House
from agon_ingress.openai_types import Told
from agon_ingress.pages import After, Limit, Order, Page, turn
from agon_ingress.receiving import tenant_of
from agon_ingress.recorded import named, not_found
from agon_ingress.response_context import asked_with, standing
from agon_ingress.response_items import Item
from agon_ingress.response_types import Response

router = APIRouter(prefix="/v1/responses", tags=["kept responses"])


class ResponseDeleted(Told):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class ResponseItemList(Page[Item]):
    """`GET /v1/responses/{response_id}/input_items`."""


@router.get("/{response_id}")
async def get_response(response_id: str, request: Request) -> Response:
    """A response as it stands now."""
    house, row = await find(request, response_id)
    return await standing(house, row)


@router.delete("/{response_id}")
async def delete_response(response_id: str, request: Request) -> ResponseDeleted:
    """Forget question and answer; nothing can go on from it any more. One that runs is refused (409): cancel it."""
    house, row = await find(request, response_id)
    if (await standing(house, row)).status in ("in_progress", "queued"):
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
