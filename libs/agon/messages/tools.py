"""Functions that a model may call, and its calls, as OpenAI writes both."""

from typing import Annotated, Any, Literal

from pydantic import Field

from agon.messages.base import Message

FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class ToolFunction(Message):
    """A function that the model may call; `parameters` is a JSON schema of its arguments."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Message):
    """Something that the model may use."""

    type: Literal["function"] = "function"
    function: ToolFunction


class FunctionCall(Message):
    """What the model calls: `arguments` is JSON as the model wrote it."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: str


class ToolCall(Message):
    """One call in an assistant's message."""

    id: Annotated[str, Field(max_length=128)]
    type: Literal["function"] = "function"
    function: FunctionCall
