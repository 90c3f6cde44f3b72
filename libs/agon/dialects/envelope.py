"""One call as a JSON object, `{"name": "f", "arguments": {...}}`, read character by character."""

import json
from collections.abc import Collection
from enum import Enum, auto

_NAMES = frozenset({"name"})
_ARGUMENTS = frozenset({"arguments", "parameters"})
SPACE = " \t\r\n"
"""What may stand between any two parts of JSON."""


class _State(Enum):
    KEY = auto()  # before a key, or the end of an empty object
    IN_KEY = auto()
    COLON = auto()
    VALUE = auto()  # before a value
    IN_VALUE = auto()
    COMMA = auto()  # after a value
    DONE = auto()
    BAD = auto()


class Value:
    """Finds the end of a JSON value whose first character has been seen. It does not check what is between."""

    __slots__ = ("_depth", "_escaped", "_first", "_quoted")

    def __init__(self, first: str) -> None:
        self._first = first
        self._depth = 1 if first in "{[" else 0
        self._quoted = first == '"'
        self._escaped = False

    def ends_with(self, character: str) -> bool:
        """Take one more character: whether it is the value's last. Not for values that a delimiter ends."""
        if self._quoted:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._quoted = False
                return self._depth == 0
            return False
        if character == '"':
            self._quoted = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            return self._depth == 0
        return False

    @property
    def delimited(self) -> bool:
        """A number or a word: it ends before the next comma, bracket or space."""
        return self._first not in '{["'


class Envelope:
    """Feed it the characters from `{` on, white space before it included. `name` is set once it is known to be one of
    `offered`; from then on `take` gives what has come of the arguments. `bad` says that this is no such call."""

    def __init__(self, offered: Collection[str]) -> None:
        self.name: str | None = None
        self._offered = offered
        self._state = _State.BAD
        self._begun = False
        self._key = ""
        self._buffer: list[str] = []
        self._value = Value("{")
        self._arguments: list[str] = []
        self._seen: set[str] = set()

    @property
    def bad(self) -> bool:
        return self._begun and self._state is _State.BAD

    @property
    def done(self) -> bool:
        return self._state is _State.DONE

    def take(self) -> str:
        """The arguments' text since the last time, once the name is known; `{}` at the end of a call without any."""
        if self.name is None:
            return ""
        if self.done and "arguments" not in self._seen:
            self._seen.add("arguments")
            return "{}"
        text = "".join(self._arguments)
        self._arguments.clear()
        return text

    def feed(self, character: str) -> None:
        """One more character. After `done` or `bad` there is nothing to feed."""
        if not self._begun:
            if character not in SPACE:
                self._begun = True
                self._state = _State.KEY if character == "{" else _State.BAD
            return
        match self._state:
            case _State.IN_KEY | _State.IN_VALUE:
                self._inside(character)
            case _ if character in SPACE:
                pass
            case _State.KEY:
                self._begin_key(character)
            case _State.COLON:
                self._state = _State.VALUE if character == ":" else _State.BAD
            case _State.VALUE:
                self._begin_value(character)
            case _State.COMMA:
                self._after_value(character)

    def _begin_key(self, character: str) -> None:
        if character == '"':
            self._begin(character, _State.IN_KEY)
        else:
            self._state = _State.BAD

    def _begin(self, character: str, state: _State) -> None:
        self._value, self._buffer, self._state = Value(character), [character], state

    def _begin_value(self, character: str) -> None:
        if character in ",}]:":
            self._state = _State.BAD
            return
        self._begin(character, _State.IN_VALUE)
        if self._key in _ARGUMENTS:
            # A second one could not be told any more. Some models write the object as a string: told at its end.
            if "arguments" in self._seen or character not in '{"':
                self._state = _State.BAD
                return
            self._seen.add("arguments")
            if character == "{":
                self._arguments.append(character)

    def _inside(self, character: str) -> None:
        if self._state is _State.IN_VALUE and self._value.delimited:
            if character in ",}" or character in SPACE:
                self._state = _State.COMMA
                if character not in SPACE:
                    self._after_value(character)
            return
        self._buffer.append(character)
        if self._state is _State.IN_VALUE and self._key in _ARGUMENTS and self._buffer[0] == "{":
            self._arguments.append(character)
        if self._value.ends_with(character):
            self._end()

    def _end(self) -> None:
        """A key, or a value in brackets or quotes, is complete."""
        if self._state is _State.IN_KEY:
            self._key = self._string() or ""
            self._state = _State.COLON
            return
        self._state = _State.COMMA
        if self._key in _NAMES:
            self.name = self._string() if self.name is None else None
            if self.name not in self._offered:
                self.name, self._state = None, _State.BAD
        elif self._key in _ARGUMENTS and self._buffer[0] == '"':
            inner = self._string()
            if inner is None or not inner.lstrip().startswith("{"):
                self._state = _State.BAD
            else:
                self._arguments.append(inner)

    def _after_value(self, character: str) -> None:
        if character == ",":
            self._state = _State.KEY
        elif character == "}":
            self._state = _State.DONE if self.name is not None else _State.BAD
        else:
            self._state = _State.BAD

    def _string(self) -> str | None:
        if self._buffer[0] != '"':
            return None
        try:
            return str(json.loads("".join(self._buffer)))
        except ValueError:
            return None
