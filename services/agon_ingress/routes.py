"""The routes of `/v1` that ask a model, made from their descriptions."""

from typing import Any

from fastapi import APIRouter

from agon_ingress.asking.endpoint import Endpoint
from agon_ingress.chat.endpoint import CHAT
from agon_ingress.completions.endpoint import COMPLETIONS
from agon_ingress.embeddings.endpoint import EMBEDDINGS
from agon_ingress.responses.endpoint import RESPONSES

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
