"""A list that has its final frame becomes the request's `GenerationCompleted`. Pure: the list decides everything."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple, cast

from agon.dialects import Reader, Spoken, call_id, fold
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
    spoken = [_heard(said, request, card) for said in transcript.said]
    return GenerationCompleted(
        request_id=identity.request_id,
        tenant=identity.tenant,
        model=identity.model,
        kind=request.kind if request else "chat",
        status=cast(Status, end.status),
        choices=tuple(_choices(transcript.said, spoken, identity.request_id, store))
        if admission or transcript.emitted
        else (),
        prompt_logprobs=prompt_logprobs(transcript.prompt_logprobs) if store and transcript.prompt_logprobs else None,
        usage=Usage(
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.completion_tokens,
            total_tokens=end.prompt_tokens + end.completion_tokens,
            cached_tokens=end.cached_tokens,
            reasoning_tokens=None
            if card is None or card.reasoning is None
            else sum(heard.reasoning_tokens for heard in spoken),
        ),
        error=None
        if end.error_message is None
        else CompletionError(
            message=end.error_message,
            type=end.error_type or "server_error",
            param=end.error_param,
            code=end.error_code,
        ),
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
    nothing = {"message": AssistantMessage(), "raw": None, "logprobs": None}
    choices = tuple(choice.model_copy(update=nothing) for choice in message.choices)
    return message.model_copy(update={"choices": choices, "prompt_logprobs": None, "text_omitted": True})


class _Heard(NamedTuple):
    """What one choice said, with calls and reasoning apart from the text, as HTTP tells it."""

    spoken: Spoken
    reasoning_tokens: int


def _heard(said: Said, request: GenerationRequest | None, card: ModelCard | None) -> _Heard:
    if card is None or request is None or request.kind != "chat":
        return _Heard(Spoken("".join(said.text)), 0)
    offer = calling(request.tools, request.tool_choice, request.parallel_tool_calls)
    reader = Reader(card.tool_format, offer.names, card.reasoning)
    spoken = Spoken()
    for text, tokens in zip(said.text, said.counts, strict=True):
        fold(reader.feed(text, tokens), spoken)
    fold(reader.end(), spoken)
    if not offer.several:
        del spoken.calls[1:]
    return _Heard(spoken, reader.reasoning_tokens)


def _choices(said: Iterable[Said], heard: Iterable[_Heard], answer: str, store: bool) -> Iterable[CompletionChoice]:
    for index, (choice, (spoken, _)) in enumerate(zip(said, heard, strict=True)):
        text = "".join(choice.text)
        yield CompletionChoice(
            index=index,
            message=_message(spoken, index, answer) if store else AssistantMessage(),
            raw=text if store and text != spoken.text else None,
            logprobs=choice_logprobs(choice.logprobs) if store and choice.logprobs is not None else None,
            finish_reason=cast(FinishReason | None, choice.finish_reason),
        )


def _message(spoken: Spoken, index: int, answer: str) -> AssistantMessage:
    calls = tuple(
        ToolCall(id=call_id(answer, index, number), function=FunctionCall(name=name, arguments=arguments))
        for number, (name, arguments) in enumerate(spoken.calls)
    )
    return AssistantMessage(
        content=spoken.text or None if calls else spoken.text,
        tool_calls=calls or None,
        reasoning=spoken.reasoning or None,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
