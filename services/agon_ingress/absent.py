"""Parts of OpenAI's API that are known and not here, each answered with what is missing."""

from fastapi import APIRouter, Request

from agon.errors import ModelNotFound, NotImplementedYet

router = APIRouter(prefix="/v1", tags=["not here"], include_in_schema=False)


@router.post("/moderations")
async def create_moderation(request: Request) -> None:
    """Only a guard model can say what is harmful, and none is registered: never a made-up "not flagged"."""
    raise ModelNotFound("No guard model is registered, so nothing can be said about this input.", param="model")


@router.api_route("/uploads{rest:path}", methods=["GET", "POST"])
async def uploads(request: Request) -> None:
    """Large files in parts."""
    raise NotImplementedYet("This server takes files whole, at /v1/files; uploads in parts are not implemented.")


@router.api_route("/fine_tuning/{rest:path}", methods=["GET", "POST", "DELETE"])
async def fine_tuning(request: Request) -> None:
    """Fine-tuning over HTTP."""
    raise NotImplementedYet("Fine-tuning over HTTP is not implemented on this server.")
