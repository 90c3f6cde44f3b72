"""OpenAI's requests as commands for the workers: what all endpoints do alike. The house adds seed and listener."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from agon.errors import InvalidRequest, UnsupportedParameter
from agon.messages import GenerationRequest, ModelCard
from agon.messages.requests import Kind
from agon.messages.sampling import Sampling
from agon.messages.tools import Tool
from agon_ingress.asking.endpoint import Ask
from agon_ingress.http.findings import invalid

LEAST_TOP_P = 1e-9  # workers take no 0; this leaves the same one token


def generation(asked: Sampling, ask: Ask, request_id: str, more: Mapping[str, Any]) -> GenerationRequest:
    """One command; `more` is what the endpoint has of its own."""
    sampling = {name: getattr(asked, name) for name in Sampling.model_fields}
    return command(request_id=request_id, tenant=ask.tenant, deadline=ask.deadline, **{**sampling, **more})


def command(**fields: Any) -> GenerationRequest:
    """Raises `InvalidRequest` for what does not go together; `param` is the field to change."""
    if fields.get("top_p") == 0:
        fields["top_p"] = LEAST_TOP_P
    try:
        return GenerationRequest(**fields)
    except ValidationError as error:
        raise invalid(error.errors(), known=GenerationRequest.model_fields) from None


def able(card: ModelCard, kind: Kind, tools: Sequence[Tool] | None = None) -> None:
    """Raises `InvalidRequest` for what this model was not made for."""
    if kind not in card.kinds:
        can = " and ".join(f"{one}s" for one in card.kinds)
        raise InvalidRequest(f"the model `{card.model}` is made for {can}, not for {kind}s", param="model")
    if tools and card.tool_format is None:
        told = f"the model `{card.model}` has no way to call tools: its chat template knows none"
        raise UnsupportedParameter(told, param="tools")
