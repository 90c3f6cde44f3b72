"""Is it alive, is it ready, how is it doing. Public: `/healthz`, `/readyz`. Internal only: `/metrics`, `/admin/models`,
because load and workers would tell a voter which model is at work."""

from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel

from agon_ingress.house import House

router = APIRouter(tags=["operation"])
internal = APIRouter()


def _house(request: Request) -> House:
    house: House = request.app.state.house
    return house


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


class Readiness(BaseModel):
    """Each dependency with `ok`, or what is wrong with it."""

    status: Literal["ok", "unavailable"]
    dependencies: dict[str, str]


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(request: Request, response: Response) -> Readiness:
    """200 when every dependency answers and a model is served; else 503, and which one is missing."""
    house = _house(request)
    parts = {name: problem or "ok" for name, problem in house.health.problems.items()}
    parts["registry"] = "ok" if house.registry.loaded.is_set() else "not read yet"
    parts["models"] = "ok" if house.registry.served() else "no registered model has a live worker"
    if all(state == "ok" for state in parts.values()):
        return Readiness(status="ok", dependencies=parts)
    response.status_code = 503
    return Readiness(status="unavailable", dependencies=parts)


@internal.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return Response(generate_latest(_house(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


@internal.get("/admin/models")
async def admin_models(request: Request) -> dict[str, Any]:
    """Every registered model, whether it is served, by which workers, and with what load and capacity."""
    registry = _house(request).registry
    return {
        "models": [
            {
                "model": card.model,
                "state": card.state,
                "backend": card.backend,
                "base": card.base,
                "context_length": card.context_length,
                "parameters": card.parameters,
                "served": bool(workers := registry.serving(card.model)),
                "workers": [
                    {
                        "worker": worker.worker,
                        "running": worker.models[card.model].running,
                        "waiting": worker.models[card.model].waiting,
                        "capacity": worker.models[card.model].capacity,
                    }
                    for worker in workers
                ],
            }
            for card in sorted(registry.cards.values(), key=lambda card: card.model)
        ]
    }


def internal_app(house: House) -> FastAPI:
    """What the internal port serves."""
    app = FastAPI(openapi_url=None)
    app.state.house = house
    app.include_router(router)
    app.include_router(internal)
    return app
