"""`schemas/openapi.json`: the public HTTP contract, made from the typed routes.

`python -m agon_ingress.openapi schemas/openapi.json` writes it; a test fails when the file is behind the code.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from agon_ingress.bodies.openai_types import ErrorResponse
from agon_ingress.bodies.policy import Asked
from agon_ingress.routes import ENDPOINTS

REF = "#/components/schemas/{model}"


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the app. What FastAPI can't see is added: bodies that routes read by themselves,
    streams, and the one form of every error."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        given: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ErrorResponse, "serialization")]
        bodies = dict(_bodies(app))
        given += ((kind, "validation") for kind in bodies.values())
        given += ((endpoint.event, "serialization") for endpoint in ENDPOINTS if endpoint.event is not None)
        _, added = models_json_schema(given, ref_template=REF)
        for name, schema in added["$defs"].items():
            schemas.setdefault(name, schema)
        for (path, method), kind in bodies.items():
            made["paths"][path][method]["requestBody"] = {
                "required": True,
                "content": {"application/json": _ref(kind)},
            }
        for endpoint in ENDPOINTS:
            post = made["paths"][endpoint.path]["post"]
            if endpoint.event is not None:
                post["responses"]["200"]["content"]["text/event-stream"] = _ref(endpoint.event)
        for path in made["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)  # FastAPI's own; ours is 400, like every error below
                operation["responses"]["default"] = {
                    "description": "Any error: always this envelope.",
                    "content": {"application/json": _ref(ErrorResponse)},
                }
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = made
    return app.openapi_schema


def _bodies(app: FastAPI) -> Iterator[tuple[tuple[str, str], type[Asked]]]:
    """What routes read by themselves, by path and method."""
    for endpoint in ENDPOINTS:
        yield (endpoint.path, "post"), endpoint.asks
    for route in iter_route_contexts(app.routes):
        if route.path is not None and (kind := getattr(route.endpoint, "takes", None)) is not None:
            for method in route.methods or ():
                yield (route.path, method.lower()), kind


_ABOUT = "An OpenAI-compatible API, blind battles between models, and a leaderboard that anyone can check."


def _ref(model: type) -> dict[str, Any]:
    return {"schema": {"$ref": REF.format(model=model.__name__)}}


def main() -> None:
    from agon_ingress.app import create_app
    from agon_ingress.settings import IngressSettings

    text = json.dumps(create_app(IngressSettings()).openapi(), indent=2, ensure_ascii=False) + "\n"
    Path(sys.argv[1]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
