"""What clients send to the parts of OpenAI's API that are not here yet."""

from typing import Annotated, Any, Literal

from pydantic import Field

from agon.messages.base import ModelName
from agon_ingress.bodies.openai_types import Metadata
from agon_ingress.bodies.policy import Asked
from agon_ingress.files.types import ExpiresAfter, Purpose

Auto = Literal["auto"]


class UploadRequest(Asked):
    """`POST /v1/uploads`: a file that will come in parts."""

    bytes: Annotated[int, Field(ge=1)]
    filename: Annotated[str, Field(min_length=1, max_length=255)]
    mime_type: Annotated[str, Field(min_length=1, max_length=255)]
    purpose: Purpose
    expires_after: ExpiresAfter | None = None


class UploadCompleted(Asked):
    """`POST /v1/uploads/{upload_id}/complete`: the parts, in their order."""

    part_ids: Annotated[tuple[str, ...], Field(min_length=1, fail_fast=True)]
    md5: str | None = None


class Hyperparameters(Asked):
    batch_size: Auto | Annotated[int, Field(ge=1)] | None = None
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0)] | None = None
    n_epochs: Auto | Annotated[int, Field(ge=1)] | None = None
    beta: Auto | Annotated[float, Field(gt=0)] | None = None


class MethodOptions(Asked):
    hyperparameters: Hyperparameters | None = None


class Method(Asked):
    """How to train; `hyperparameters` lie in the object that is named like the type."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: MethodOptions | None = None
    dpo: MethodOptions | None = None
    reinforcement: dict[str, Any] | None = None


class FineTuningRequest(Asked):
    """`POST /v1/fine_tuning/jobs`."""

    model: ModelName
    training_file: Annotated[str, Field(min_length=1, max_length=64)]
    validation_file: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    integrations: tuple[dict[str, Any], ...] | None = None
    metadata: Metadata = {}
