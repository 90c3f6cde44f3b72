"""What several of OpenAI's objects have in common. `openapi.json` is made from these classes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agon.errors import InvalidRequest
from agon_ingress.bodies.policy import Asked


def absent(value: Any) -> bool:
    """For fields that OpenAI leaves out where there is nothing to say."""
    return value is None


class Told(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )


def usage_if_asked_for(schema: dict[str, Any]) -> None:
    """For `json_schema_extra` of a chunk: it has no `usage` where that was not asked for."""
    schema["required"] = [name for name in schema["required"] if name != "usage"]


class StreamOptions(Asked):
    """What a stream carries besides tokens."""

    include_usage: bool = False
    """One more chunk before the end, with the token counts and no choices."""


class PromptTokensDetails(Told):
    cached_tokens: int


class CompletionTokensDetails(Told):
    reasoning_tokens: int


class Usage(Told):
    """Token counts, from the engine."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails | None = Field(default=None, exclude_if=absent)
    """Only of models that reason: their tokens up to the one that ends the reasoning."""


class ErrorObject(Told):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(Told):
    """Every error, on every path."""

    error: ErrorObject


Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]*$")],
        Annotated[str, Field(max_length=512, pattern=r"^[^\x00]*$")],
    ],
    Field(max_length=16),
]
"""What a client notes on an object: at most 16 pairs of 64 and 512 characters."""


class MetadataUpdate(Asked):
    """All the metadata that an object has from now on; null for none."""

    metadata: Metadata = {}

    @classmethod
    def refuse_within(cls, raw: Mapping[str, Any]) -> None:
        if "metadata" not in raw:
            raise InvalidRequest("metadata: Field required", param="metadata", code="missing_required_parameter")


TopP = Annotated[float, Field(ge=0, le=1)]
"""OpenAI takes 0 as well: it leaves the most probable token."""
ServiceTier = Literal["default"]
