"""What a client sends as the input of a response, or puts into a conversation."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from agon.errors import UnsupportedParameter
from agon_ingress.bodies.policy import Asked, objects, refusals_as_text, refuse_other_types


class InputText(Asked):
    """A piece of a message, of the user's or of an earlier answer."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class InputMessage(Asked):
    """One turn; also an earlier answer's message, as it was told."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Annotated[tuple[InputText, ...], Field(fail_fast=True)]

    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class InputCall(Asked):
    """A call that an earlier answer made."""

    type: Literal["function_call"]
    call_id: Annotated[str, Field(min_length=1, max_length=128)]
    name: Annotated[str, Field(min_length=1, max_length=128)]
    arguments: str


class InputCallOutput(Asked):
    """What the tool said."""

    type: Literal["function_call_output"]
    call_id: Annotated[str, Field(min_length=1, max_length=128)]
    output: str | Annotated[tuple[InputText, ...], Field(fail_fast=True)]

    def text(self) -> str:
        return self.output if isinstance(self.output, str) else "".join(part.text for part in self.output)


class InputReasoning(Asked):
    """What an earlier answer thought: taken, and not told to the model again."""

    type: Literal["reasoning"]


class InputReference(Asked):
    """An item of a kept response's output, by its id, instead of the item itself."""

    type: Literal["item_reference"] | None = None
    id: Annotated[str, Field(min_length=1, max_length=128)]


Sent = InputMessage | InputCall | InputCallOutput | InputReasoning
"""An item as it is."""


def _kind(item: Any) -> str:
    """A message may come without its type, and so may a reference."""
    if not isinstance(item, Mapping):
        return getattr(item, "type", None) or "item_reference"
    kind = item.get("type")
    if kind is None:
        return "item_reference" if "id" in item and "role" not in item else "message"
    return kind if isinstance(kind, str) else "message"


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputCallOutput, Tag("function_call_output")]
    | Annotated[InputReasoning, Tag("reasoning")]
    | Annotated[InputReference, Tag("item_reference")],
    Discriminator(_kind),
]
ITEMS = ("message", "function_call", "function_call_output", "reasoning")


def refuse_other_items(raw: Any, where: str, known: tuple[str, ...] = ITEMS) -> None:
    """Raise `UnsupportedParameter` for an item, or a part of one, of another type than these."""
    refuse_other_types(raw, where, known)
    for place, item in objects(raw, where):
        if item.get("type") == "reasoning":
            continue  # as it was told, with whatever it holds: none of it is told to the model
        if _kind(item) not in known:
            told = f"{place}: items are taken as they are here, not by their ids."
            raise UnsupportedParameter(told, param=place)
        for name in ("content", "output"):
            refuse_other_types(item.get(name), f"{place}.{name}", ("input_text", "output_text", "text", "refusal"))


def with_refusals_said(raw: Any) -> Any:
    """Items in which a refusal is what was said."""
    if not isinstance(raw, list):
        return raw
    return [
        {**item, "content": refusals_as_text(item["content"], "output_text")}
        if isinstance(item, dict) and isinstance(item.get("content"), list)
        else item
        for item in raw
    ]
