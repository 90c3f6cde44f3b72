"""`GET /v1/models` and `/v1/models/{id}`: what is registered and served right now."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from agon.messages import ModelCard
from agon_ingress.callers import caller_of
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
