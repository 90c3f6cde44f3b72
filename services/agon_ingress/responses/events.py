"""The events of a response's stream, in the order in which they can come."""

from typing import Literal

from pydantic import RootModel

from agon_ingress.bodies.openai_types import Told
from agon_ingress.responses.types import OutputItem, OutputText, ReasoningText, Response, TextLogprob


class Event(Told):
    """Each has a `type` and its number in the stream, from 0."""

    sequence_number: int


class LifeEvent(Event):
    """The beginning and the end, with the response as it is by then."""

    type: Literal[
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.completed",
        "response.incomplete",
        "response.failed",
    ]
    response: Response


class ItemEvent(Event):
    """An item of the output begins, or is complete."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputItem


class _Within(Event):
    item_id: str
    output_index: int


class PartEvent(_Within):
    """A piece of an item's content begins, or is complete."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    content_index: int = 0
    part: OutputText | ReasoningText


class TextDeltaEvent(_Within):
    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    content_index: int = 0
    delta: str
    logprobs: tuple[TextLogprob, ...] = ()


class TextDoneEvent(_Within):
    type: Literal["response.output_text.done"] = "response.output_text.done"
    content_index: int = 0
    text: str
    logprobs: tuple[TextLogprob, ...] = ()


class ReasoningDeltaEvent(_Within):
    type: Literal["response.reasoning_text.delta"] = "response.reasoning_text.delta"
    content_index: int = 0
    delta: str


class ReasoningDoneEvent(_Within):
    type: Literal["response.reasoning_text.done"] = "response.reasoning_text.done"
    content_index: int = 0
    text: str


class ArgumentsDeltaEvent(_Within):
    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"
    delta: str


class ArgumentsDoneEvent(_Within):
    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    name: str
    arguments: str


class ErrorEvent(Event):
    """What went wrong after the answer had begun; `response.failed` follows."""

    type: Literal["error"] = "error"
    code: str | None
    message: str
    param: str | None


ResponseEvent = (
    LifeEvent
    | ItemEvent
    | PartEvent
    | TextDeltaEvent
    | TextDoneEvent
    | ReasoningDeltaEvent
    | ReasoningDoneEvent
    | ArgumentsDeltaEvent
    | ArgumentsDoneEvent
    | ErrorEvent
)


class ResponseStreamEvent(RootModel[ResponseEvent]):
    """Any of them."""
