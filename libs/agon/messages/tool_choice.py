"""Which of the offered functions a model may, must or must not call, as OpenAI writes it."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from agon.messages.base import Message
from agon.messages.tools import FunctionName, Tool


class NamedFunction(Message):
    name: FunctionName


class NamedChoice(Message):
    """This function must be called, once."""

    type: Literal["function"]
    function: NamedFunction


class AllowedTools(Message):
    """Some of the offered functions may (`auto`) or must (`required`) be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[tuple[NamedChoice, ...], Field(min_length=1, max_length=128, fail_fast=True)]


class AllowedChoice(Message):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required"] | Annotated[NamedChoice | AllowedChoice, Field(discriminator="type")]


class Calling(NamedTuple):
    """What a choice comes down to: `names` may be called, and must be if `required`; at most once unless `several`."""

    names: tuple[str, ...] = ()
    required: bool = False
    several: bool = True


def calling(tools: Sequence[Tool] | None, choice: ToolChoice | None, parallel: bool | None) -> Calling:
    """Raises `ValueError` for a choice of what was not offered."""
    offered = tuple(tool.function.name for tool in tools or ())
    chosen, required, several = offered, choice == "required", parallel is not False
    match choice:
        case NamedChoice():
            chosen, required, several = (choice.function.name,), True, False
        case AllowedChoice():
            chosen = tuple(tool.function.name for tool in choice.allowed_tools.tools)
            required = choice.allowed_tools.mode == "required"
        case "none":
            chosen = ()
    if required and not offered:
        raise ValueError("tool_choice asks for a call, but no tools are given")
    for name in chosen:
        if name not in offered:
            raise ValueError(f"tool_choice names `{name}`, which is not among the tools")
    return Calling(chosen, required, several)
