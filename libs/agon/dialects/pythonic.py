"""Calls as a Python list: the whole answer is `[f(a=1), g(b="x")]`."""

import ast
import json
from collections.abc import Collection
from typing import Any

from agon.dialects.calls import CallReader
from agon.dialects.envelope import SPACE
from agon.dialects.pieces import Arguments, Call, Piece, Text

_LONGEST = 64 * 1024  # characters of one call; Python's parser takes a large multiple of them in memory


class PythonicReader(CallReader):
    """Each call is told at its end: until then its arguments are no JSON."""

    def __init__(self, offered: Collection[str]) -> None:
        super().__init__(offered)
        self._plain = False
        self._depth = 0
        self._quote = ""
        self._escaped = False

    def outside(self, character: str, out: list[Piece]) -> None:
        if self._plain:
            out.append(Text(character))
            return
        self.held += character
        if self._depth == 0:
            if character == "[" and not self.count:
                self._depth = 1
            elif character not in SPACE:
                self._other(out)
        elif self._quote:
            self._quoted(character)
        elif character in "\"'":
            self._quote = character
        elif self._depth == 1 and character in ",]":
            self._one(character, out)
        elif character in "([{":
            self._depth += 1
        elif character in ")]}":
            self._depth -= 1
        if len(self.held) > _LONGEST:
            self._other(out)

    def ended(self, out: list[Piece]) -> None:
        """There are no JSON envelopes here."""

    def broken(self, character: str, out: list[Piece]) -> None:
        """There are no JSON envelopes here."""

    def trailing(self, held: str) -> str:
        return held.strip(SPACE)

    def _quoted(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == self._quote:
            self._quote = ""

    def _one(self, delimiter: str, out: list[Piece]) -> None:
        """A call is complete, or the list is."""
        written = self.held[:-1].strip(SPACE).removeprefix("[" if not self.count else "")
        parsed = parse(written, self.offered) if written.strip(SPACE) else None
        if parsed is None and not (self.count and delimiter == "]" and not written):
            self._other(out)
            return
        if parsed is not None:
            name, arguments = parsed
            out += (Call(self.count, name), Arguments(self.count, json.dumps(arguments, ensure_ascii=False)))
            self.count += 1
        self.held = ""
        self._depth = 1 if delimiter == "," else 0

    def _other(self, out: list[Piece]) -> None:
        self._plain = True
        held, self.held = self.held, ""
        if held := self.trailing(held) if self.count else held:
            out.append(Text(held))


def parse(written: str, offered: Collection[str]) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments of one call with named arguments that are literals; None for anything else."""
    try:
        tree = ast.parse(written.strip(), mode="eval").body
        if not isinstance(tree, ast.Call) or tree.args:
            return None
        name = ast.unparse(tree.func)
        arguments = {word.arg: ast.literal_eval(_named(word.value)) for word in tree.keywords if word.arg is not None}
        json.dumps(arguments)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    if name not in offered or len(arguments) != len(tree.keywords):
        return None
    return name, arguments


_NAMED = {"true": True, "false": False, "null": None}


class _Named(ast.NodeTransformer):
    """JSON's words for what Python spells otherwise: models mix them."""

    def visit_Name(self, node: ast.Name) -> ast.expr:  # the name that `ast` calls
        return ast.Constant(_NAMED[node.id]) if node.id in _NAMED else node


def _named(value: ast.expr) -> ast.expr:
    return _Named().visit(value)  # type: ignore[no-any-return]
