"""What an endpoint makes of an answer, as it comes or as a whole. Pure: deltas in, bytes or an object out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from agon.dialects import Arguments, Call, Piece, Reader, ReasoningStyle, ToolFormat
from agon.errors import AgonError
from agon.stream.frames import Delta, End
from agon_ingress.bodies.openai_types import CompletionTokensDetails, PromptTokensDetails, Usage

Ends = Sequence[End]
"""How each request of an answer ended, in order; all `finished`."""


class Whole(Protocol):
    """Collects an answer. `choice` counts through all requests: those of the first come first."""

    def delta(self, choice: int, delta: Delta) -> None: ...

    def body(self, ends: Ends) -> BaseModel: ...


class Streamed(Protocol):
    """Writes an answer's server-sent events. Nothing follows `end` or `error`."""

    def begin(self) -> bytes: ...

    def delta(self, choice: int, delta: Delta) -> bytes:
        """May be empty: text is held back until it is certain what it is."""

    def end(self, ends: Ends) -> bytes: ...

    def error(self, error: AgonError) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Head:
    """What every event and object of an answer repeats."""

    id: str
    created: int
    model: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Speech:
    """How the model's words are to be read: the formats that it writes, and what it may call."""

    tools: ToolFormat | None = None
    offered: tuple[str, ...] = ()
    reasoning: ReasoningStyle | None = None
    several: bool = True

    @property
    def plain(self) -> bool:
        """Everything that it says is text."""
        return self.reasoning is None and not (self.tools and self.offered)


class Listener:
    """Reads one choice."""

    def __init__(self, speech: Speech) -> None:
        self._reader = Reader(speech.tools, speech.offered, speech.reasoning)
        self._several = speech.several

    @property
    def reasoning_tokens(self) -> int:
        return self._reader.reasoning_tokens

    def hear(self, delta: Delta) -> tuple[list[Piece], str | None]:
        """The pieces that are certain now, and the choice's finish reason with its last delta."""
        pieces = self._reader.feed(delta.text, len(delta.token_ids))
        reason = delta.finish_reason
        if reason is not None:
            pieces += self._reader.end()
            if reason == "stop" and self._reader.calls:
                reason = "tool_calls"
        if not self._several:
            pieces = [piece for piece in pieces if not (isinstance(piece, Call | Arguments) and piece.index > 0)]
        return pieces, reason


def usage_of(ends: Ends, reasoning_tokens: int | None = None) -> Usage:
    """The token counts of an answer that has ended."""
    prompt, completion = sum(end.prompt_tokens for end in ends), sum(end.completion_tokens for end in ends)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=sum(end.cached_tokens for end in ends)),
        completion_tokens_details=None
        if reasoning_tokens is None
        else CompletionTokensDetails(reasoning_tokens=reasoning_tokens),
    )
