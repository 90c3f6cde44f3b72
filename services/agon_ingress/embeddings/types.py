"""OpenAI's embeddings, as this server takes and gives them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from agon.messages.base import ModelName
from agon.messages.sampling import TokenId
from agon_ingress.bodies.openai_types import Told
from agon_ingress.bodies.policy import Accepted, Asked

Tokens = Annotated[tuple[TokenId, ...], Field(min_length=1, fail_fast=True)]
Text = Annotated[str, Field(min_length=1)]
Input = (
    Text
    | Tokens
    | Annotated[tuple[Text, ...], Field(min_length=1, fail_fast=True)]
    | Annotated[tuple[Tokens, ...], Field(min_length=1, fail_fast=True)]
)


class EmbeddingRequest(Asked):
    """`POST /v1/embeddings`: a vector for each text (or list of token ids)."""

    model: ModelName
    input: Input
    encoding_format: Literal["float", "base64"] = "float"
    """`base64`: the vector as little-endian float32."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """The first so many of the model's, at length 1 again."""
    user: Annotated[Any, Accepted()] = None

    @property
    def inputs(self) -> tuple[str | tuple[int, ...], ...]:
        """One or several, in order."""
        if isinstance(self.input, str) or isinstance(self.input[0], int):
            return (self.input,)
        return self.input


class Embedding(Told):
    """The vector of the input with this index: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: tuple[float, ...] | str


class EmbeddingUsage(Told):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Told):
    """All vectors, in the order of their inputs."""

    object: Literal["list"] = "list"
    data: tuple[Embedding, ...]
    model: str
    usage: EmbeddingUsage
