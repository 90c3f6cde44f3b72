"""`/v1/batches`: many requests at once, answered within a day with what the models have to spare."""

import secrets
from datetime import timedelta

from fastapi import APIRouter, Request, Response

from agon.errors import AgonError, Conflict, InvalidRequest, NotFound, RateLimited
from agon.messages import now
from agon.store import batches, files
from agon.store.batches import BatchRow
from agon_ingress.access.callers import Caller, caller_of
from agon_ingress.batches.driver import Driver
from agon_ingress.batches.types import Batch, BatchList, BatchRequest
from agon_ingress.bodies.pages import After, Limit, cut, possible, unknown_after
from agon_ingress.bodies.receiving import receive, takes, tenant_of
from agon_ingress.house import House
from agon_ingress.recorded import named, not_found

router = APIRouter(prefix="/v1/batches", tags=["batches"])

WHAT = "batch"


@router.post("")
@takes(BatchRequest)
async def create_batch(request: Request, response: Response) -> Batch:
    """Answer every line of a file; it begins as `validating`, and `GET` tells how far it is."""
    house, caller = _house(request), caller_of(request)
    asked, headers, _ = await receive(request, BatchRequest, house.settings)
    if caller.key is not None:
        caller.key.check_endpoint(asked.endpoint)
    began = now()
    repeatable = await house.repeating.promised(request, "/v1/batches", began, began)
    batch_id = f"batch_{secrets.token_hex(12) if repeatable is None else repeatable.promise.name[:24]}"
    response.headers.update(headers | ({} if repeatable is None else repeatable.headers))
    if repeatable is not None and not repeatable.first:
        there = await batches.read(house.pool, caller.tenant, batch_id)
        if there is not None:
            return Batch.of(there)
    try:
        row = await _create(house, caller, batch_id, asked)
    except AgonError:
        if repeatable is not None and repeatable.first:
            await house.repeating.withdraw(repeatable)
        raise
    driver: Driver = request.app.state.batches
    driver.wake()
    return Batch.of(row)


async def _create(house: House, caller: Caller, batch_id: str, asked: BatchRequest) -> BatchRow:
    found = await files.read(house.pool, caller.tenant, asked.input_file_id.replace("\0", ""))
    if found is None:
        raise NotFound(f"No file found with id '{asked.input_file_id}'.", param="input_file_id")
    if found.purpose != "batch":
        told = f"input_file_id: the file's purpose is `{found.purpose}`; a batch takes one of purpose `batch`"
        raise InvalidRequest(told, param="input_file_id", code="invalid_value")
    if await batches.unfinished(house.pool, caller.tenant) >= house.settings.max_batches:
        told = f"{house.settings.max_batches} batches of yours have not ended, which is the most: wait for one of them"
        raise RateLimited(told)
    expiry = asked.output_expires_after
    return await batches.create(
        house.pool,
        caller.tenant,
        batch_id,
        key_id=None if caller.key is None else caller.key.key_id,
        endpoint=asked.endpoint,
        input_file_id=found.file_id,
        window=house.settings.batch_window,
        completion_window=asked.completion_window,
        metadata=asked.metadata,
        output_expires_after=None if expiry is None else timedelta(seconds=expiry.seconds),
    )


@router.get("")
async def list_batches(request: Request, after: After = None, limit: Limit = 20) -> BatchList:
    """Yours, the newest first."""
    house, tenant = _house(request), tenant_of(request)
    if after is not None and await batches.read(house.pool, tenant, possible(after)) is None:
        raise unknown_after(after)
    found = await batches.listed(house.pool, tenant, after=after, most=limit + 1)
    return BatchList.model_validate(cut([Batch.of(row) for row in found], limit))


@router.get("/{batch_id}")
async def get_batch(batch_id: str, request: Request) -> Batch:
    """How far one is; once it has ended, where its files are."""
    return Batch.of(await _find(request, batch_id))


@router.post("/{batch_id}/cancel")
async def cancel_batch(batch_id: str, request: Request) -> Batch:
    """Stop one. What was answered by then is in its output file."""
    row = await _find(request, batch_id)
    cancelled = await batches.cancel(_house(request).pool, row.tenant, row.batch_id)
    if cancelled is None:
        status = (await _find(request, batch_id)).status
        raise Conflict(f"The batch '{batch_id}' can't be cancelled any more: it is {status}.")
    return Batch.of(cancelled)


def _house(request: Request) -> House:
    house: House = request.app.state.house
    house.health.require("postgres")
    return house


async def _find(request: Request, batch_id: str) -> BatchRow:
    """Raises `NotFound`."""
    row = await batches.read(_house(request).pool, tenant_of(request), named(WHAT, batch_id))
    if row is None:
        raise not_found(WHAT, batch_id)
    return row
