"""What may be asked of an answer's sampling, at every door: HTTP's endpoints and Kafka share these fields."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from agon.messages.base import Message, ModelName

StopString = Annotated[str, Field(min_length=1, max_length=1024)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


def as_tuple(stop: Any) -> Any:
    """OpenAI takes one stop string or a list of them."""
    return (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else stop


class Sampling(Message):
    """How to draw an answer. What is None is the model's own default."""

    model: ModelName
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] = 1
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Draw only tokens at least so probable as this share of the most probable one."""
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Draw from the tokens whose surprise is nearest to the expected one, and that hold this much probability."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
    """Divides the positive logits of tokens that the prompt or the answer has, and multiplies the negative ones."""
    logit_bias: Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = None
    """Added to the logits of these token ids."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[
        tuple[StopString, ...],
        Field(max_length=4, fail_fast=True),
        BeforeValidator(as_tuple, json_schema_input_type=StopString | Annotated[list[StopString], Field(max_length=4)]),
    ] = ()
    stop_token_ids: Annotated[tuple[TokenId, ...], Field(max_length=128, fail_fast=True)] = ()
    """The answer ends with the first of these tokens, which adds nothing to its text."""
    min_tokens: Annotated[int, Field(ge=0)] = 0
    """No token ends the answer before it has so many."""
    ignore_eos: bool = False
    cache_salt: Annotated[str, Field(max_length=128)] | None = None
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=512)]], Field(max_length=16)] = Field(
        default_factory=dict
    )
