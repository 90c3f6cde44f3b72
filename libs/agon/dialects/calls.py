"""The formats of calls, each read as it comes. What turns out to be no call is text, to the last character.

| format     | a call                                                                                           |
|------------|--------------------------------------------------------------------------------------------------|
| `hermes`   | `<tool_call>{"name": "f", "arguments": {...}}</tool_call>`, anywhere, also several               |
| `llama3`   | the whole answer is `{"name": "f", "parameters": {...}}`; several are joined by `;`              |
| `mistral`  | the whole answer is `[TOOL_CALLS][{"name": "f", "arguments": {...}}, ...]`, or `f[ARGS]{...}...` |
| `pythonic` | the whole answer is `[f(a=1), g()]` (in `pythonic`)                                              |

Markers that are special tokens of the tokenizer (`<|python_tag|>`, `[TOOL_CALLS]`, `[ARGS]`) may be missing from the
text. Only a tool that was offered can be called: anything else is text.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from itertools import groupby

from agon.dialects.envelope import SPACE, Envelope, Value
from agon.dialects.pieces import Arguments, Call, Piece, Text


class CallReader(ABC):
    """Text in, pieces out, the same whatever way the text is cut. `held` is what is not decided yet."""

    def __init__(self, offered: Collection[str]) -> None:
        self.offered = offered
        self.held = ""
        self.count = 0
        """Calls so far."""
        self._envelope: Envelope | None = None

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain now."""
        out: list[Piece] = []
        for character in text:
            if self._envelope is None:
                self.outside(character, out)
            else:
                self._inside(self._envelope, character, out)
        return joined(out)

    def end(self) -> list[Piece]:
        """The text is complete: what was held back, unless it belongs to the format."""
        held, self.held = self.held, ""
        if self.count and self._envelope is None:
            held = self.trailing(held)
        return [Text(held)] if held else []

    @abstractmethod
    def outside(self, character: str, out: list[Piece]) -> None:
        """A character that is not within a call."""

    @abstractmethod
    def ended(self, out: list[Piece]) -> None:
        """A call is complete."""

    @abstractmethod
    def broken(self, character: str, out: list[Piece]) -> None:
        """What began as a call is none, as `character` shows, the last one of `held` unless the call was told."""

    @abstractmethod
    def trailing(self, held: str) -> str:
        """What of the rest behind the last call is text."""

    def begin(self, character: str, out: list[Piece]) -> None:
        """From here on it is a call; `held` has what would be text if it is none."""
        self._envelope = Envelope(self.offered)
        self._inside(self._envelope, character, out)

    def _inside(self, envelope: Envelope, character: str, out: list[Piece]) -> None:
        told = envelope.name is not None
        if not told:
            self.held += character
        envelope.feed(character)
        if envelope.name is not None:
            if not told:
                out.append(Call(self.count, envelope.name))
                self.held = ""
                self.count += 1
            if more := envelope.take():
                out.append(Arguments(self.count - 1, more))
        if envelope.done:
            self._envelope = None
            self.ended(out)
        elif envelope.bad:
            self._envelope = None
            self.broken(character, out)


class HermesReader(CallReader):
    """Calls in tags, between texts. White space around a call belongs to the format, not to the text."""

    OPEN, CLOSE = "<tool_call>", "</tool_call>"

    def __init__(self, offered: Collection[str]) -> None:
        super().__init__(offered)
        self._behind = False  # a call, with no text since
        self._unclosed = False

    def outside(self, character: str, out: list[Piece]) -> None:
        blank = not self.held or self.held[-1] in SPACE  # for in a tag there is no space
        self.held += character
        if blank and character in SPACE:
            return  # without a look at all of it, which may be long
        seen = self.held.lstrip(SPACE)
        if seen == self.OPEN:
            self._envelope = Envelope(self.offered)
        elif self._unclosed and seen == self.CLOSE:
            self.held, self._unclosed = "", False
        elif not self.OPEN.startswith(seen) and not (self._unclosed and self.CLOSE.startswith(seen)):
            keep = 1 if character in f"<{SPACE}" else 0
            self._say(self.held[: len(self.held) - keep], out)
            self.held = self.held[len(self.held) - keep :]

    def ended(self, out: list[Piece]) -> None:
        self._behind = self._unclosed = True

    def broken(self, character: str, out: list[Piece]) -> None:
        if self.held:
            self._say(self.held[:-1], out)
            self.held = ""
        else:
            self._behind = True
        self.outside(character, out)

    def trailing(self, held: str) -> str:
        held = held.strip(SPACE) if self._behind else held.rstrip(SPACE)
        return "" if self._unclosed and self.CLOSE.startswith(held) else held

    def _say(self, text: str, out: list[Piece]) -> None:
        text = text.lstrip(SPACE) if self._behind else text
        if text:
            self._behind = self._unclosed = False
            out.append(Text(text))


class JsonReader(CallReader):
    """The whole answer is one call, or several, in an array or one behind the other (Llama 3, Mistral)."""

    MARKS = ("<|python_tag|>", "[TOOL_CALLS]")
    BETWEEN = f"{SPACE};,[]"

    def __init__(self, offered: Collection[str]) -> None:
        super().__init__(offered)
        self._plain = False
        self._blank = False  # all that is held may stand before a call

    def outside(self, character: str, out: list[Piece]) -> None:
        if self._plain:
            out.append(Text(character))
            return
        self.held += character
        before = self.BETWEEN if self.count else f"{SPACE}["
        if self._blank and character in before:
            return  # without a look at all of it, which may be long
        seen = self.unmarked()
        self._blank = not seen.strip(before)
        if self._blank or self._may_be_mark():
            return
        if character == "{" and seen.strip(self.BETWEEN) == "{":
            self.held = self.held[:-1]
            self.begin(character, out)
        else:
            self.other(out)

    def other(self, out: list[Piece]) -> None:
        """What is held is no beginning of a call: it and all that follows is text."""
        self._plain = True
        held, self.held = self.held, ""
        if held := self.trailing(held) if self.count else held:
            out.append(Text(held))

    def ended(self, out: list[Piece]) -> None:
        pass

    def broken(self, character: str, out: list[Piece]) -> None:
        if not self.held:
            self.held = character
        self.other(out)

    def trailing(self, held: str) -> str:
        return held.strip(self.BETWEEN)

    def unmarked(self) -> str:
        """What is held, without a mark at its beginning."""
        seen = self.held.lstrip(SPACE)
        for mark in self.MARKS:
            seen = seen.removeprefix(mark)
        return seen

    def _may_be_mark(self) -> bool:
        seen = self.held.lstrip(SPACE)
        return any(mark.startswith(seen) for mark in self.MARKS)


class MistralReader(JsonReader):
    """Also the newer form, `[TOOL_CALLS]f[ARGS]{...}`, several of it one behind the other."""

    def __init__(self, offered: Collection[str]) -> None:
        super().__init__(offered)
        self._value: Value | None = None

    def outside(self, character: str, out: list[Piece]) -> None:
        if self._value is None:
            super().outside(character, out)
            return
        out.append(Arguments(self.count - 1, character))
        if self._value.ends_with(character):
            self._value = None

    def other(self, out: list[Piece]) -> None:
        seen = self.unmarked().strip(SPACE)
        name, _, rest = seen.partition("[") if not seen.endswith("{") else seen.removesuffix("{").partition("[")
        whole = f"[{rest}" if rest or "[" in seen else ""
        if seen.endswith("{") and name.strip() in self.offered and whole in ("", "[ARGS]"):
            out += (Call(self.count, name.strip()), Arguments(self.count, "{"))
            self.count += 1
            self.held, self._value = "", Value("{")
        elif not any(begins(f"{offered}[ARGS]{{", seen) or begins(f"{offered}{{", seen) for offered in self.offered):
            super().other(out)


def begins(whole: str, part: str) -> bool:
    """Whether `part`, white space aside, may become `whole`."""
    return whole.startswith("".join(part.split()))


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The same with neighbours of one kind made one."""
    out: list[Piece] = []
    for (kind, index), run in groupby(pieces, key=lambda piece: (type(piece), getattr(piece, "index", None))):
        if kind is Text:
            out.append(Text("".join(piece.text for piece in run if isinstance(piece, Text))))
        elif kind is Arguments:
            assert index is not None
            out.append(Arguments(index, "".join(piece.text for piece in run if isinstance(piece, Arguments))))
        else:
            out += run
    return out
