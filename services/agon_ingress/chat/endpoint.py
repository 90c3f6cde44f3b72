"""`POST /v1/chat/completions`."""

from collections.abc import Coroutine
from typing import Any

from agon.messages import GenerationRequest, ModelCard
from agon.messages.tool_choice import calling
from agon.store import stored_chats
from agon.store.stored_chats import StoredChat
from agon_ingress.asking.calls import check_calls
from agon_ingress.asking.endpoint import Ask, Endpoint
from agon_ingress.asking.mapping import able, generation
from agon_ingress.asking.telling import Speech
from agon_ingress.chat.telling import ChatStream, WholeChat
from agon_ingress.chat.types import ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Effort
from agon_ingress.house import House


def _generations(asked: ChatCompletionRequest, ask: Ask) -> tuple[GenerationRequest]:
    able(ask.card, "chat", asked.tools)
    check_calls(asked.messages, "messages")
    kwargs = template_kwargs(asked.reasoning_effort, asked.chat_template_kwargs)
    chat = {
        "kind": "chat",
        "messages": asked.messages,
        "tools": asked.tools,
        "tool_choice": asked.tool_choice,
        "parallel_tool_calls": asked.parallel_tool_calls,
        "chat_template_kwargs": kwargs,
        "max_completion_tokens": asked.max_completion_tokens or asked.max_tokens,
        "max_tokens": None,
        "response_format": asked.form,
        "logprobs": asked.logprobs,
        "top_logprobs": asked.top_logprobs,
        "store": asked.store,
    }
    return (generation(asked, ask, ask.head.id, chat),)


def _whole(asked: ChatCompletionRequest, ask: Ask) -> WholeChat:
    return WholeChat(ask.head, speech(asked, ask.card), asked.n, asked.metadata or None)


def _streamed(asked: ChatCompletionRequest, ask: Ask) -> ChatStream:
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    return ChatStream(ask.head, speech(asked, ask.card), asked.n, include_usage=usage)


def speech(asked: ChatCompletionRequest, card: ModelCard) -> Speech:
    """How this answer is to be read."""
    offer = calling(asked.tools, asked.tool_choice, asked.parallel_tool_calls)
    return Speech(card.tool_format, offer.names, card.reasoning, offer.several)


def template_kwargs(effort: Effort | None, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Chat templates know effort by two names; what a client names itself goes before."""
    if effort is None:
        return given or None
    return {"reasoning_effort": effort, "enable_thinking": effort != "none", **(given or {})}


def _keep(asked: ChatCompletionRequest, ask: Ask, house: House) -> Coroutine[Any, Any, None] | None:
    if not asked.store:
        return None
    house.health.require("postgres")
    messages = [message.model_dump(mode="json", exclude_none=True) for message in asked.messages]
    chat = StoredChat(
        tenant=ask.tenant,
        completion_id=ask.head.id,
        model=ask.head.model,
        fingerprint=ask.head.fingerprint,
        messages=messages,
        metadata=asked.metadata,
        created_at=ask.began,
    )
    return stored_chats.keep(house.pool, chat)


CHAT = Endpoint(
    path="/v1/chat/completions",
    prefix="chatcmpl-",
    asks=ChatCompletionRequest,
    gives=ChatCompletion,
    event=ChatCompletionChunk,
    about="An answer to a conversation; with `stream: true` as server-sent events that end with `data: [DONE]`.",
    generations=_generations,
    whole=_whole,
    streamed=_streamed,
    conversation=lambda asked: asked.prompt_cache_key,
    keep=_keep,
)
