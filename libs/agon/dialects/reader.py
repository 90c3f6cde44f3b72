"""An answer's text becomes pieces: reasoning, if it begins with some, then text and calls."""

from collections.abc import Collection

from agon.dialects.calls import CallReader, HermesReader, JsonReader, MistralReader
from agon.dialects.envelope import SPACE
from agon.dialects.pieces import Piece, Reasoning, Text
from agon.dialects.pythonic import PythonicReader
from agon.dialects.recognise import ReasoningStyle, ToolFormat

_READERS: dict[ToolFormat, type[CallReader]] = {
    "hermes": HermesReader,
    "llama3": JsonReader,
    "mistral": MistralReader,
    "pythonic": PythonicReader,
}
_OPEN, _CLOSE = "<think>", "</think>"


class Reader:
    """For one choice of one answer. `offered` are the names of the tools that may be called, none to read no calls.

    The result is a function of the whole text alone: feeding it in other pieces gives the same, put together.
    """

    def __init__(
        self,
        tools: ToolFormat | None = None,
        offered: Collection[str] = (),
        reasoning: ReasoningStyle | None = None,
    ) -> None:
        self.calls = 0
        self.reasoning_tokens = 0
        """Counted by what is fed: a piece that ends the reasoning counts as a whole. `may_turn` says where to cut."""
        self._reader = _READERS[tools](frozenset(offered)) if tools and offered else None
        self._thinking = reasoning == "think_open"
        self._undecided = reasoning == "think"
        self._fresh = False  # reasoning has just ended: white space behind it belongs to the format
        self._held = ""

    def feed(self, text: str, tokens: int = 0) -> list[Piece]:
        """The pieces that are certain now. `tokens` is how many the text is made of."""
        thinking = self._thinking
        pieces = self._feed(text)
        if thinking or any(isinstance(piece, Reasoning) for piece in pieces):
            self.reasoning_tokens += tokens
        return pieces

    def _feed(self, text: str) -> list[Piece]:
        out: list[Piece] = []
        if self._held and self._held[-1] in SPACE and not text.strip(SPACE):
            self._held += text  # is all white space, and may be long
            return out
        text, self._held = self._held + text, ""
        if self._undecided:
            seen = text.lstrip(SPACE)
            if _OPEN.startswith(seen) and seen != _OPEN:
                self._held = text
                return out
            self._undecided = False
            if seen.startswith(_OPEN):
                self._thinking, text = True, seen.removeprefix(_OPEN)
                self._fresh = True
        if self._thinking:
            text = self._think(text, out)
        if text and not self._thinking:
            if self._fresh:
                text = text.lstrip(SPACE)
                self._fresh = not text
            out += self._read(text)
        return out

    def end(self) -> list[Piece]:
        """The text is complete: what was held back."""
        held, self._held = self._held, ""
        if self._thinking:
            held = held.rstrip(SPACE)
            return [Reasoning(held)] if held else []
        out = self._read(held)
        if self._reader is not None:
            out += self._reader.end()
        return out

    def _think(self, text: str, out: list[Piece]) -> str:
        """Reasoning up to its closing tag; returns the text behind it. White space at both ends is not told."""
        if self._fresh:
            text = text.lstrip(SPACE)
            self._fresh = not text
        thought, closed, behind = text.partition(_CLOSE)
        if closed:
            self._thinking, self._fresh = False, True
            thought = thought.rstrip(SPACE)
        else:
            kept = _certain(thought)
            thought, self._held = thought[:kept], thought[kept:]
        if thought:
            out.append(Reasoning(thought))
        return behind

    def _read(self, text: str) -> list[Piece]:
        if not text:
            return []
        if self._reader is None:
            return [Text(text)]
        pieces = self._reader.feed(text)
        self.calls = self._reader.count
        return pieces


def may_turn(text: str) -> bool:
    """Whether reasoning may have just begun or ended with this piece, by what can be seen of its tag."""
    end = text.rstrip(SPACE)[-len(_OPEN) :]
    return bool(end) and (_OPEN.endswith(end) or _CLOSE.endswith(end))


def _certain(thought: str) -> int:
    """How many of its characters are neither the beginning of a closing tag at its end nor white space before that."""
    end = len(thought)
    for size in range(min(len(_CLOSE) - 1, end), 0, -1):
        if _CLOSE.startswith(thought[end - size :]):
            end -= size
            break
    return len(thought[:end].rstrip(SPACE))
