"""Items of a conversation as they are kept and told, each with an id; and the chat that they are to a model. Pure."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import TypeAdapter

from agon.messages import ChatMessage, ToolCall, tools
from agon_ingress.bodies.openai_types import Told
from agon_ingress.responses.input_types import (
    InputCall,
    InputCallOutput,
    InputItem,
    InputMessage,
    InputReasoning,
    InputReference,
    Sent,
)
from agon_ingress.responses.types import (
    CallItem,
    MessageItem,
    OutputText,
    ReasoningItem,
)


class InputTextPart(Told):
    type: Literal["input_text"] = "input_text"
    text: str


class AskedItem(Told):
    """What a user says, or what the model is told to be."""

    type: Literal["message"] = "message"
    id: str
    role: Literal["user", "system", "developer"]
    status: Literal["completed"] = "completed"
    content: tuple[InputTextPart, ...]


class CallOutputItem(Told):
    """What a tool said."""

    type: Literal["function_call_output"] = "function_call_output"
    id: str
    call_id: str
    output: str
    status: Literal["completed"] = "completed"


Item = AskedItem | MessageItem | ReasoningItem | CallItem | CallOutputItem
Items = tuple[Item, ...]
_ITEMS: TypeAdapter[Items] = TypeAdapter(Items)
_OUTPUT = re.compile(r"(?:msg|rs|fc)_([A-Za-z0-9_-]+)_\d{1,4}")


def read_items(text: str) -> Items:
    """Items from the JSON that `write_items` made."""
    return _ITEMS.validate_json(text)


def write_items(items: Items) -> str:
    return _ITEMS.dump_json(items).decode()


def named(response_id: str, index: int) -> str:
    """The id, behind its prefix, of an item of a response's output: it says where the item is found again."""
    return f"{response_id.removeprefix('resp_')}_{index}"


def response_of(item_id: str) -> str | None:
    """The response that an item is in the output of; None for what is no such id."""
    found = _OUTPUT.fullmatch(item_id)
    return None if found is None else f"resp_{found[1]}"


def items_of(given: str | Sequence[InputItem], owner: str, found: Mapping[str, Item] = {}) -> Items:
    """What a client sent, as items. Their ids follow from their owner's and their place; those that it only names are
    in `found`."""
    if isinstance(given, str):
        given = (InputMessage(role="user", content=given),)
    return tuple(
        found[item.id] if isinstance(item, InputReference) else _item(item, owner, index)
        for index, item in enumerate(given)
    )


def _item(item: Sent, owner: str, index: int) -> Item:
    name = hashlib.blake2b(f"{owner}/in/{index}".encode(), digest_size=16).hexdigest()
    match item:
        case InputMessage(role="assistant"):
            said = OutputText(text=item.text())
            return MessageItem(id=f"msg_{name}", status="completed", content=(said,))
        case InputMessage(role=role, content=content):
            texts = (content,) if isinstance(content, str) else tuple(part.text for part in content)
            parts = tuple(InputTextPart(text=text) for text in texts)
            return AskedItem(id=f"msg_{name}", role=role, content=parts)
        case InputCall():
            return CallItem(
                id=f"fc_{name}", call_id=item.call_id, name=item.name, arguments=item.arguments, status="completed"
            )
        case InputCallOutput():
            return CallOutputItem(id=f"fco_{name}", call_id=item.call_id, output=item.text())
        case InputReasoning():
            return ReasoningItem(id=f"rs_{name}", status="completed")


def messages(instructions: str | None, items: Iterable[Item]) -> tuple[ChatMessage, ...]:
    """The conversation as a chat: instructions in front, an assistant's calls in one message with what it said; what it
    thought is not told to it again."""
    told = [ChatMessage(role="system", content=instructions)] if instructions else []
    for item in items:
        _tell(item, told)
    return tuple(told)


def _tell(item: Item, told: list[ChatMessage]) -> None:
    match item:
        case AskedItem(role=role, content=content):
            told.append(ChatMessage(role=role, content="".join(part.text for part in content)))
        case MessageItem(content=said):
            told.append(ChatMessage(role="assistant", content="".join(part.text for part in said)))
        case CallItem():
            call = ToolCall(id=item.call_id, function=tools.FunctionCall(name=item.name, arguments=item.arguments))
            last = told[-1] if told else None
            if last is not None and last.role == "assistant":
                told[-1] = last.model_copy(update={"tool_calls": (*(last.tool_calls or ()), call)})
            else:
                told.append(ChatMessage(role="assistant", tool_calls=(call,), content=None))
        case CallOutputItem():
            told.append(ChatMessage(role="tool", tool_call_id=item.call_id, content=item.output))
