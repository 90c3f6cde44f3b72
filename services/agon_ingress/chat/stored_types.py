"""Stored chat completions as OpenAI tells them, made of what was asked and of how it ended. Pure."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from agon.messages import ChatMessage, CompletionChoice, GenerationCompleted, ToolCall
from agon.messages.requests import Role, TextPart
from agon.store.stored_chats import StoredChat
from agon_ingress.bodies.openai_types import (
    CompletionTokensDetails,
    PromptTokensDetails,
    Told,
    Usage,
    absent,
)
from agon_ingress.bodies.pages import Page
from agon_ingress.chat.types import ChatCompletion, ChatFinish, Choice, Logprobs, ResponseMessage


class ChatCompletionList(Page[ChatCompletion]):
    """`GET /v1/chat/completions`."""


class ChatCompletionDeleted(Told):
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    id: str
    deleted: Literal[True] = True


class StoredMessage(Told):
    """A message of what was asked. `content` is its text; `content_parts` are its pieces, where it came in pieces."""

    id: str
    role: Role
    content: str | None
    content_parts: tuple[TextPart, ...] | None
    name: str | None = Field(default=None, exclude_if=absent)
    tool_calls: tuple[ToolCall, ...] | None = Field(default=None, exclude_if=absent)
    tool_call_id: str | None = Field(default=None, exclude_if=absent)


class StoredMessageList(Page[StoredMessage]):
    """`GET /v1/chat/completions/{completion_id}/messages`."""


def told(chat: StoredChat, end: GenerationCompleted) -> ChatCompletion:
    """The completion, as its client was told it."""
    usage = end.usage
    return ChatCompletion(
        id=chat.completion_id,
        created=int(chat.created_at.timestamp()),
        model=chat.model,
        choices=tuple(map(_choice, end.choices)),
        usage=Usage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
            completion_tokens_details=None
            if usage.reasoning_tokens is None
            else CompletionTokensDetails(reasoning_tokens=usage.reasoning_tokens),
        ),
        system_fingerprint=chat.fingerprint,
        metadata=chat.metadata or None,
    )


def _choice(choice: CompletionChoice) -> Choice:
    said = choice.message
    reason: ChatFinish = choice.finish_reason or "stop"
    if reason == "stop" and said.tool_calls:
        reason = "tool_calls"
    return Choice(
        index=choice.index,
        message=ResponseMessage(content=said.content, tool_calls=said.tool_calls, reasoning_content=said.reasoning),
        logprobs=None if choice.logprobs is None else Logprobs(content=choice.logprobs.content),
        finish_reason=reason,
    )


def messages_of(chat: StoredChat) -> Sequence[StoredMessage]:
    """What was asked, in order."""
    return [
        StoredMessage(
            id=f"{chat.completion_id}-{index}",
            role=message.role,
            content=None if message.content is None else message.text(),
            content_parts=message.content if isinstance(message.content, tuple) else None,
            name=message.name,
            tool_calls=message.tool_calls,
            tool_call_id=message.tool_call_id,
        )
        for index, message in enumerate(map(ChatMessage.model_validate, chat.messages))
    ]
