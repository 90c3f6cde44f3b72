"""A list that has its final frame becomes the request's `GenerationCompleted`. Pure: the list decides everything."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import cast

from agon.dialects import Reader, call_id, fold
from agon.messages import (
    AssistantMessage,
    CompletionChoice,
    CompletionError,
    FinishReason,
    GenerationCompleted,
    GenerationRequest,
    ModelCard,
    Status,
    Timings,
    ToolCall,
    Usage,
)
from agon.messages.tool_choice import calling
from agon.messages.tools import FunctionCall
from agon.stream.logprobs import choice_logprobs, prompt_logprobs
from agon_inference.taken import Identity
from agon_inference.transcript import Said, Transcript


def completed(
    identity: Identity,
    request: GenerationRequest | None,
    transcript: Transcript,
    worker: str,
    attempt: int,
    first_token_at: float | None = None,
    card: ModelCard | None = None,
) -> GenerationCompleted:
    """`card` says how the model writes calls and reasoning; without one, all that it said is text.

    Raises `ValueError` when the transcript has no end: nothing may be published about it yet.
    """
    end = transcript.end
    if end is None:
        raise ValueError(f"{identity.key} has no end yet")
    store = request.store if request else True
    admission = transcript.admission
    return GenerationCompleted(
        request_id=identity.request_id,
        tenant=identity.tenant,
        model=identity.model,
        kind=request.kind if request else "chat",
        status=cast(Status, end.status),
        choices=tuple(_choices(transcript.said, request, store, card)) if admission or transcript.emitted else (),
        prompt_logprobs=prompt_logprobs(transcript.prompt_logprobs) if store and transcript.prompt_logprobs else None,
        usage=Usage(
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            total_tokens=end.prompt_tokens + end.completion_tokens,
            cached_tokens=end.cached_tokens,
        ),
        error=None
        if end.error_message is None
        else CompletionError(message=end.error_message, type=end.error_type or "server_error", code=end.error_code),
        timings=Timings(
            accepted_at=identity.accepted_at,
            admitted_at=_moment(admission.at) if admission else None,
            first_token_at=_moment(first_token_at) if first_token_at else None,
            finished_at=_moment(end.at),
        ),
        worker=worker,
        attempt=attempt,
        metadata=request.metadata if request else {},
    )


def bare(message: GenerationCompleted) -> GenerationCompleted:
    """The same without its text, and saying so: for one that is too large for Kafka."""
    nothing = {"message": AssistantMessage(), "logprobs": None}
    choices = tuple(choice.model_copy(update=nothing) for choice in message.choices)
    return message.model_copy(update={"choices": choices, "prompt_logprobs": None, "text_omitted": True})


def _choices(
    said: Iterable[Said], request: GenerationRequest | None, store: bool, card: ModelCard | None
) -> Iterable[CompletionChoice]:
    for index, choice in enumerate(said):
        yield CompletionChoice(
            index=index,
            message=_message("".join(choice.text), index, request, card) if store else AssistantMessage(),
            logprobs=choice_logprobs(choice.logprobs) if store and choice.logprobs is not None else None,
            finish_reason=cast(FinishReason | None, choice.finish_reason),
        )


def _message(text: str, index: int, request: GenerationRequest | None, card: ModelCard | None) -> AssistantMessage:
    """What was said, with calls and reasoning apart from the text, as HTTP tells it."""
    if card is None or request is None or request.kind != "chat":
        return AssistantMessage(content=text)
    offer = calling(request.tools, request.tool_choice, request.parallel_tool_calls)
    reader = Reader(card.tool_format, offer.names, card.reasoning)
    spoken = fold((*reader.feed(text), *reader.end()))
    calls = tuple(
        ToolCall(id=call_id(request.request_id, index, number), function=FunctionCall(name=name, arguments=arguments))
        for number, (name, arguments) in enumerate(spoken.calls if offer.several else spoken.calls[:1])
    )
    return AssistantMessage(
        content=spoken.text or None if calls else spoken.text,
        tool_calls=calls or None,
        reasoning=spoken.reasoning or None,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
