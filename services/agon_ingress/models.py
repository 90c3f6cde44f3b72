"""`/v1/models` and `/v1/models/{id}`: what is registered and served right now."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from agon.bus.headers import event_headers
from agon.errors import Conflict, Forbidden
from agon.messages import ModelCard
from agon_ingress.access.callers import caller_of
from agon_ingress.house import House

router = APIRouter(prefix="/v1", tags=["models"])


class Model(BaseModel):
    """OpenAI's model object, and how large the model is."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["model"] = "model"
    created: int
    """Epoch seconds."""
    owned_by: str
    context_length: int
    """Tokens of prompt and answer together."""
    parameters: int | None
    base: str | None
    """The model that this one is an adapter of."""

    @classmethod
    def of(cls, card: ModelCard) -> "Model":
        return cls(
            id=card.model,
            created=int(card.created_at.timestamp()),
            owned_by=card.owned_by,
            context_length=card.context_length,
            parameters=card.parameters,
            base=card.base,
        )


class ModelList(BaseModel):
    """OpenAI's list of models."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class ModelDeleted(BaseModel):
    """OpenAI's word that a model is gone."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True


@router.get("/models")
async def list_models(request: Request) -> ModelList:
    """The models that a request would be answered by now. 503 while Redis is away: then nobody knows."""
    house: House = request.app.state.house
    house.health.require("redis")
    caller = caller_of(request)
    return ModelList(data=tuple(Model.of(card) for card in house.registry.served() if caller.may_ask(card.model)))


@router.get("/models/{model:path}")
async def get_model(model: str, request: Request) -> Model:
    """One model. 404 `model_not_found` if it is not registered, 503 `model_not_served` if no live worker has it."""
    house: House = request.app.state.house
    house.health.require("redis")
    caller_of(request).check_model(model)
    return Model.of(house.registry.check(model))


@router.delete("/models/{model:path}")
async def delete_model(model: str, request: Request) -> ModelDeleted:
    """Withdraw one that no worker serves; a worker that starts with it brings it back. 409 while one serves it, and 403
    with a key: models belong to the whole server, and so to whoever runs it."""
    house: House = request.app.state.house
    if caller_of(request).key is not None:
        raise Forbidden("Models belong to the whole server: whoever runs it stops their workers, and they are gone.")
    house.health.require("redis", "kafka")
    card = house.registry.registered(model)
    if house.registry.serving(model):
        raise Conflict(f"Workers serve the model `{model}`: stop them first.")
    gone = card.model_copy(update={"state": "withdrawn"})
    headers = event_headers(gone, id=f"{model}@{gone.digest}", source=house.ingress_id)
    await house.producer.produce(house.settings.topics.models, gone.encode(), key=model.encode(), headers=headers)
    return ModelDeleted(id=model)
