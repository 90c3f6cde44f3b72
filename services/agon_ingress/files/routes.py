"""`/v1/files`: upload, list, get, content, delete. An upload goes through a temporary file into Postgres: memory holds
a piece of it, and a client that sends slowly holds no connection to the database."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from agon.errors import InvalidRequest, RateLimited, TooLarge
from agon.store import files
from agon.store.files import FileRow
from agon_ingress.bodies.pages import After, Order, cut, possible, unknown_after
from agon_ingress.bodies.receiving import in_time, tenant_of
from agon_ingress.files.types import File, FileDeleted, FileList, NewFile
from agon_ingress.house import House
from agon_ingress.http.findings import invalid
from agon_ingress.recorded import named, not_found

router = APIRouter(prefix="/v1/files", tags=["files"])

WHAT = "file"
ENVELOPE = 64 * 1024
"""Bytes that a form may have besides its file."""
BATCH_FILES_LAST = timedelta(days=30)
_FORM_FIELDS = 8


@router.post("", openapi_extra={"requestBody": NewFile.openapi()})
async def create_file(request: Request) -> File:
    """Upload one, as `multipart/form-data` with `file` and `purpose`."""
    house, tenant = _house(request), tenant_of(request)
    async with _uploading(house), _form(request) as form:
        upload, new = _read(form)
        size, most = upload.size or 0, house.settings.max_file_bytes
        if size > most:
            raise TooLarge(f"file: it has {size:,} bytes, and {most:,} are the most", param="file")
        _bound(house, await files.held(house.pool, tenant), size)
        lasts = BATCH_FILES_LAST if new.purpose == "batch" else None
        if new.expires_after is not None:
            lasts = timedelta(seconds=new.expires_after.seconds)
        async with house.pool.acquire() as connection, connection.transaction():
            row = await files.write(
                connection,
                tenant,
                f"file-{secrets.token_hex(12)}",
                upload,
                filename=(upload.filename or "file").replace("\0", "")[:255],
                purpose=new.purpose,
                expires_after=lasts,
            )
            # Others may have been written meanwhile.
            await files.one_by_one(connection, tenant)
            _bound(house, await files.held(connection, tenant) - size, size)
    return File.of(row)


@router.get("")
async def list_files(
    request: Request,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="The most objects of a page.")] = 10_000,
    order: Order = "desc",
) -> FileList:
    """Yours, by time."""
    house, tenant = _house(request), tenant_of(request)
    if after is not None and await files.read(house.pool, tenant, possible(after)) is None:
        raise unknown_after(after)
    wanted = None if purpose is None else purpose.replace("\0", "")
    found = await files.listed(
        house.pool, tenant, purpose=wanted, after=after, most=limit + 1, descending=order == "desc"
    )
    return FileList.model_validate(cut([File.of(row) for row in found], limit))


@router.get("/{file_id}")
async def get_file(file_id: str, request: Request) -> File:
    """One, without its bytes."""
    return File.of(await find(_house(request), tenant_of(request), file_id))


@router.get("/{file_id}/content", response_class=StreamingResponse)
async def get_file_content(file_id: str, request: Request) -> StreamingResponse:
    """The bytes of one."""
    house = _house(request)
    row = await find(house, tenant_of(request), file_id)
    return StreamingResponse(
        files.content(house.pool, row.tenant, row.file_id),
        media_type="application/octet-stream",
        headers={"content-length": str(row.bytes)},
    )


@router.delete("/{file_id}")
async def delete_file(file_id: str, request: Request) -> FileDeleted:
    """Forget one. A batch that was made of it goes on once its input has been read."""
    if not await files.delete(_house(request).pool, tenant_of(request), named(WHAT, file_id)):
        raise not_found(WHAT, file_id)
    return FileDeleted(id=file_id)


async def find(house: House, tenant: str, file_id: str) -> FileRow:
    """Raises `NotFound`."""
    row = await files.read(house.pool, tenant, named(WHAT, file_id))
    if row is None:
        raise not_found(WHAT, file_id)
    return row


def _house(request: Request) -> House:
    house: House = request.app.state.house
    house.health.require("postgres")
    return house


def _bound(house: House, kept: int, size: int) -> None:
    """Raises `TooLarge` when a tenant who keeps so much has no room for a file of that size."""
    if kept + size > house.settings.max_tenant_file_bytes:
        told = f"your files have {kept:,} bytes, and {house.settings.max_tenant_file_bytes:,} are the most"
        raise TooLarge(f"{told}: delete some", param="file", code="storage_limit_exceeded")


@contextlib.asynccontextmanager
async def _uploading(house: House) -> AsyncIterator[None]:
    """One of so many places; each may need as much disk as a file is large."""
    if house.uploads >= house.settings.max_uploads:
        raise RateLimited(f"{house.uploads} files are being uploaded, which is the most. Try again shortly.")
    house.uploads += 1
    try:
        yield
    finally:
        house.uploads -= 1


@contextlib.asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    """The body. Its file is in a temporary file of the system, unless it is small."""
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        error = InvalidRequest("files are taken as `multipart/form-data`", code="unsupported_media_type")
        error.status = 415
        raise error
    house: House = request.app.state.house
    async with in_time(house.settings.upload_timeout):
        form = await request.form(max_files=1, max_fields=_FORM_FIELDS, max_part_size=ENVELOPE)
    try:
        yield form
    finally:
        await form.close()


def _read(form: FormData) -> tuple[UploadFile, NewFile]:
    """What was sent. Raises `InvalidRequest`."""
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise InvalidRequest("file: Field required", param="file", code="missing_required_parameter")
    fields: dict[str, Any] = {"file": b"", **_present(form, {"purpose": "purpose"})}
    if expiry := _present(form, {"anchor": "expires_after[anchor]", "seconds": "expires_after[seconds]"}):
        fields["expires_after"] = expiry
    try:
        return upload, NewFile.model_validate(fields)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False), fields) from None


def _present(form: FormData, names: Mapping[str, str]) -> dict[str, Any]:
    return {name: form[key] for name, key in names.items() if key in form}
