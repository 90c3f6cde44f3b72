"""What clients send to the arena, and what they get."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agon.messages import Outcome
from agon.messages.base import Id, ModelName
from agon.messages.requests import TextPart


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Prompted(BaseModel):
    """One message of a battle's conversation: OpenAI's, without tools."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[tuple[TextPart, ...], Field(fail_fast=True)]


class _Asked(_Body):
    """What a client sends. Fields that mean nothing here are kept apart, to be named in `x-ignored-params`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def ignored(self) -> tuple[str, ...]:
        return tuple(self.model_extra or ())


class _Question(_Asked):
    """Either a `prompt` or `messages`, ending with what the user says."""

    messages: Annotated[tuple[Prompted, ...], Field(min_length=1, max_length=1024, fail_fast=True)] | None = None
    prompt: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("give either `prompt` or `messages`")
        if self.messages is not None and self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's")
        return self

    def asked(self) -> list[dict[str, Any]]:
        """The messages, as they go to the models."""
        if self.messages is None:
            return [{"role": "user", "content": self.prompt}]
        return [message.model_dump(mode="json") for message in self.messages]


class NewBattle(_Question):
    """`POST /arena/battles`."""

    arena: Id = "main"
    models: tuple[ModelName, ModelName] | None = None
    """Two models by name: their votes are never counted on the blind board."""
    voter_kind: Literal["anonymous", "simulated"] = "anonymous"
    """What the client says about itself; it is kept with the battle, so that analyses can leave machines out."""

    @model_validator(mode="after")
    def _two_models(self) -> Self:
        if self.models is not None and self.models[0] == self.models[1]:
            raise ValueError("`models` must name two different models")
        return self


class BattleMade(_Body):
    """201: `stream` is the path of the turn's event stream."""

    battle_id: str
    ticket: str
    stream: str


class NewTurn(_Question):
    """`POST /arena/battles/{id}/turns`. Without a ticket of this battle, the session's cookie must be the one that
    began it."""

    ticket: Annotated[str, Field(max_length=512)] | None = None


class TurnMade(_Body):
    """201: the ticket is for this turn; earlier ones are good for theirs."""

    battle_id: str
    turn: int
    ticket: str
    stream: str


class NewVote(_Asked):
    """`POST /arena/battles/{id}/vote`. `turn` is the last one if it is left out."""

    outcome: Outcome
    ticket: Annotated[str, Field(min_length=1, max_length=512)]
    turn: Annotated[int, Field(ge=1)] | None = None


class Models(_Body):
    a: str
    b: str


class VoteTaken(_Body):
    """200: the vote is on Kafka, and these are the models."""

    vote_id: str
    outcome: Outcome
    models: Models
