"""What exists: the compacted registry `llm.models.v1`, keyed by model. What is served now is in heartbeats."""

from typing import Annotated, Literal

from pydantic import Field

from agon.dialects import ReasoningStyle, ToolFormat
from agon.messages.base import Message, ModelName, Time
from agon.messages.requests import Kind

BackendKind = Literal["engine", "upstream", "scripted"]


class ModelCard(Message):
    """A model, with a digest over everything that decides what it answers (weights, tokenizer, template, dtype,
    adapter).

    A worker whose digest differs from the registered one refuses to start. `withdrawn` is a state, not a tombstone:
    votes about a model outlive it.
    """

    model: ModelName
    digest: str
    state: Literal["active", "withdrawn"] = "active"
    backend: BackendKind
    owned_by: str = "agon"
    description: str = ""
    context_length: Annotated[int, Field(ge=1)]
    base: ModelName | None = None
    """The model that this one adapts, whose topics and workers take its requests; None for a model of its own."""
    source: str | None = None
    """Where workers of its base find an adapter, a folder or hub id; None where each is told by its own settings."""
    parameters: Annotated[int, Field(ge=0)] | None = None
    dtype: str | None = None
    kinds: tuple[Kind, ...] = ("chat", "completion")
    """What it can be asked for."""
    tool_format: ToolFormat | None = None
    """How it writes calls of tools; None: it was not made for them."""
    reasoning: ReasoningStyle | None = None
    """How it writes what it thinks before it answers; None: it does not."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """Of answers whose requests name none, as far as it is known; so is `top_p`."""
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    arena: bool = True
    """Whether blind battles may draw it."""
    created_at: Time

    @property
    def host(self) -> str:
        """The model whose topics take requests for this one."""
        return self.base or self.model
