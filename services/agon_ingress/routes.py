"""The routes of `/v1` that ask a model, made from their descriptions."""

from typing import Any

from fastapi import APIRouter

from agon_ingress.chat import CHAT
from agon_ingress.completions import COMPLETIONS
from agon_ingress.embeddings import EMBEDDINGS
from agon_ingress.endpoint import Endpoint
from agon_ingress.responses import RESPONSES

ENDPOINTS: tuple[Endpoint[Any], ...] = (CHAT, RESPONSES, COMPLETIONS, EMBEDDINGS)

router = APIRouter(tags=["models' answers"])
for endpoint in ENDPOINTS:
    name = "create_" + endpoint.path.removeprefix("/v1/").replace("/", "_").removesuffix("s")
    router.add_api_route(
        endpoint.path,
        endpoint.respond,
        methods=["POST"],
        response_model=endpoint.gives,
        name=name,
        description=endpoint.about,
    )
