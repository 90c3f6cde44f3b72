"""Parts of OpenAI's API that are known and not here. What a client sends is read as the part would read it, and told
what is wrong with it; then it is told what is missing."""

from fastapi import APIRouter, Request

from agon.errors import ModelNotFound, NotImplementedYet
from agon_ingress.absent.types import FineTuningRequest, UploadCompleted, UploadRequest
from agon_ingress.bodies.policy import Asked
from agon_ingress.bodies.receiving import receive
from agon_ingress.house import House

router = APIRouter(prefix="/v1", tags=["not here"], include_in_schema=False)


@router.post("/moderations")
async def create_moderation(request: Request) -> None:
    """Only a guard model can say what is harmful, and none is registered: never a made-up "not flagged"."""
    raise ModelNotFound("No guard model is registered, so nothing can be said about this input.", param="model")


@router.post("/uploads")
async def create_upload(request: Request) -> None:
    """501: large files in parts."""
    await _uploads(request, UploadRequest)


@router.post("/uploads/{upload_id}/parts")
async def add_upload_part(upload_id: str, request: Request) -> None:
    """501, like all of uploads."""
    await _uploads(request)


@router.post("/uploads/{upload_id}/complete")
async def complete_upload(upload_id: str, request: Request) -> None:
    """501, like all of uploads."""
    await _uploads(request, UploadCompleted)


@router.post("/uploads/{upload_id}/cancel")
async def cancel_upload(upload_id: str, request: Request) -> None:
    """501, like all of uploads."""
    await _uploads(request)


@router.post("/fine_tuning/jobs")
async def create_fine_tuning_job(request: Request) -> None:
    """501: fine-tuning over HTTP."""
    await _fine_tuning(request, FineTuningRequest)


@router.get("/fine_tuning/jobs")
@router.get("/fine_tuning/jobs/{job_id}")
@router.get("/fine_tuning/jobs/{job_id}/events")
@router.get("/fine_tuning/jobs/{job_id}/checkpoints")
@router.post("/fine_tuning/jobs/{job_id}/cancel")
@router.post("/fine_tuning/jobs/{job_id}/pause")
@router.post("/fine_tuning/jobs/{job_id}/resume")
async def fine_tuning_jobs(request: Request) -> None:
    """501, like all of fine-tuning."""
    await _fine_tuning(request)


async def _uploads(request: Request, kind: type[Asked] | None = None) -> None:
    await _read(request, kind)
    raise NotImplementedYet("This server takes files whole, at /v1/files; uploads in parts are not implemented.")


async def _fine_tuning(request: Request, kind: type[Asked] | None = None) -> None:
    await _read(request, kind)
    raise NotImplementedYet("Fine-tuning over HTTP is not implemented on this server.")


async def _read(request: Request, kind: type[Asked] | None) -> None:
    house: House = request.app.state.house
    if kind is not None:
        await receive(request, kind, house.settings)
