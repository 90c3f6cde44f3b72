"""Characters as people see them: what is shown one after the other, and never cut in two.

A character here is a base code point with what belongs to it (combining marks, variation selectors, joined emoji, skin
tones, the second half of a flag, LF after CR): the common part of Unicode's extended grapheme clusters (UAX 29).
"""

import unicodedata

LONGEST = 32
"""Code points in one character at most, so that a text of endless marks still moves."""

_JOINER = "\u200d"


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _extends(char: str) -> bool:
    """Whether a code point belongs to whatever stands before it."""
    if char < "\u0300":
        return False
    return char == _JOINER or "\U0001f3fb" <= char <= "\U0001f3ff" or unicodedata.category(char) in ("Mn", "Mc", "Me")


class Characters:
    """A text that grows. `len` and slices count characters that are complete: the last one is only when `end` was
    called, because what comes next may belong to it."""

    def __init__(self) -> None:
        self._complete: list[str] = []
        self._open = ""

    def feed(self, text: str) -> None:
        """Take more text."""
        for char in text:
            if self._open and self._joins(char):
                self._open += char
            else:
                if self._open:
                    self._complete.append(self._open)
                self._open = char

    def end(self) -> None:
        """No more text will come."""
        if self._open:
            self._complete.append(self._open)
            self._open = ""

    def _joins(self, char: str) -> bool:
        if len(self._open) >= LONGEST:
            return False
        if char < "\u0300":  # nearly every character of most texts: no further questions
            return char == "\n" and self._open == "\r"
        if _extends(char) or self._open[-1] == _JOINER:
            return True
        return _is_flag_half(char) and len(self._open) == 1 and _is_flag_half(self._open)

    def __len__(self) -> int:
        return len(self._complete)

    def text(self, start: int = 0, stop: int | None = None) -> str:
        """The characters from `start` up to `stop`, joined."""
        return "".join(self._complete[start:stop])
