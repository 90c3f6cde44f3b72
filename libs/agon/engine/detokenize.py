"""Tokens become text a piece at a time: always whole characters, never a stop string, nothing lost.

All state is a function of the tokens pushed so far, so that it can be rebuilt from them anywhere.
"""

import codecs
from collections.abc import Callable, Iterator, Sequence

MayEnd = Callable[[str, str], bool]
"""Whether the answer may end here, before a stop string; if not, that string is part of the answer. It is asked with
the text that has been shown since it was last asked, and with what follows up to the stop string."""


class StopScanner:
    """Holds back what may become a stop string. Which of several ends the text: the one that is complete first, and of
    those complete at the same character the longest."""

    def __init__(self, stops: Sequence[str], may_end: MayEnd | None = None) -> None:
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._may_end = may_end
        self._shown: list[str] = []  # since `may_end` was last asked, and only for it
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """What may be shown now. When a stop string is complete, `stopped` is True and the rest is dropped."""
        if not self._stops:
            return text
        seen = len(self._held)
        text = self._held + text
        for _, at in sorted(self._complete(text, seen)):
            shown, self._shown = "".join(self._shown), []
            if self._may_end is None or self._may_end(shown, text[:at]):
                self.stopped = True
                self._held = ""
                return text[:at]
        hold = self._longest_beginning(text)
        self._held = text[len(text) - hold :]
        shown = text[: len(text) - hold]
        if self._may_end is not None:
            self._shown.append(shown)
        return shown

    def close(self) -> str:
        """The text has ended otherwise: what was held back may be shown after all."""
        held, self._held = self._held, ""
        return held

    def _complete(self, text: str, seen: int) -> Iterator[tuple[int, int]]:
        """End and start of stop strings in `text` that end behind its first `seen` characters."""
        for stop in self._stops:
            at = text.find(stop, max(0, seen + 1 - len(stop)))
            while at >= 0:
                yield at + len(stop), at
                at = text.find(stop, at + 1)

    def _longest_beginning(self, text: str) -> int:
        """How many characters at the end of `text` are the beginning of a stop string."""
        for length in range(min(len(text), len(self._stops[0]) - 1), 0, -1):
            if any(len(stop) > length and text.endswith(stop[:length]) for stop in self._stops):
                return length
        return 0


class TextStream:
    """One answer's text: bytes of tokens in, text to show out."""

    def __init__(self, stops: Sequence[str] = (), may_end: MayEnd | None = None) -> None:
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._scanner = StopScanner(stops, may_end)

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the text."""
        return self._scanner.stopped

    def push(self, data: bytes) -> str:
        """The text that these bytes complete; half a character waits for its other half."""
        return self._scanner.push(self._characters.decode(data))

    def close(self) -> str:
        """The rest, once no more tokens come; half a character becomes U+FFFD."""
        last = self._scanner.push(self._characters.decode(b"", final=True))
        return last if self.stopped else last + self._scanner.close()
