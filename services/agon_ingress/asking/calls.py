"""In a conversation every call of a tool has its answer, and every answer its call."""

from collections.abc import Sequence

from agon.errors import InvalidRequest
from agon.messages import ChatMessage


def check_calls(messages: Sequence[ChatMessage], param: str) -> None:
    """Raises `InvalidRequest` as OpenAI does: chat templates would write such a conversation as if it were whole."""
    waiting: dict[str, None] = {}
    called: set[str] = set()
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in called:
                told = f"{param}: a tool's answer has the call id {_shown(message.tool_call_id)}, which nobody called"
                raise InvalidRequest(f"{told} before it", param=param, code="invalid_value")
            waiting.pop(message.tool_call_id, None)
        for call in message.tool_calls or ():
            waiting[call.id] = None
            called.add(call.id)
    if waiting:
        told = f"{param}: there is no tool's answer to {', '.join(map(_shown, list(waiting)[:5]))}"
        raise InvalidRequest(told, param=param, code="invalid_value")


def _shown(call_id: str | None) -> str:
    return "null" if call_id is None else f"`{call_id}`"
