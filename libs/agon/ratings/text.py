"""What can be seen of an answer's style without understanding it: length and Markdown."""

import re
from collections.abc import Iterable

import numpy as np

from agon.ratings.cells import Array

STYLE = ("length", "headers", "lists", "bold", "code")
"""The columns of `style_of`, and names for `Covariates.of_sides`."""
STYLE_VERSION = 1
"""Goes up with every change to what `style_of` counts, for those who keep its counts."""

_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_HEADER = re.compile(r"^ {0,3}#{1,6}[ \t]+\S", re.MULTILINE)
_ITEM = re.compile(r"^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S", re.MULTILINE)
_BOLD = re.compile(r"\*\*(?=\S)[^*\n]+?(?<=\S)\*\*|(?<!\w)__(?=\S)[^_\n]+?(?<=\S)__(?!\w)")
_INLINE_CODE = re.compile(r"`[^`\n]+`")


def style_of(texts: Iterable[str]) -> Array:
    """(N, 5) counts for each text: characters, Markdown headers, list items, bold spans, and pieces of code.

    Code is each fenced block and each span in backticks; nothing inside a fenced block counts as a header, an item or
    bold. An unclosed fence reaches to the end, as Markdown has it.
    """
    return np.array([_style(text) for text in texts], dtype=np.float64).reshape(-1, len(STYLE))


def _style(text: str) -> tuple[int, ...]:
    prose, fenced = _FENCED.subn("", text)
    spans = len(_INLINE_CODE.findall(prose))
    prose = _INLINE_CODE.sub("", prose)
    return (
        len(text),
        len(_HEADER.findall(prose)),
        len(_ITEM.findall(prose)),
        len(_BOLD.findall(prose)),
        fenced + spans,
    )
