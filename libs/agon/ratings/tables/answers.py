"""Answers' texts out of a column: as they are, or the assistant's turns of a conversation."""

from collections.abc import Iterator

import polars as pl

from agon.errors import InvalidRequest


def answers(series: pl.Series, name: str) -> Iterator[str]:
    """(N,) texts; a missing one is empty. A conversation is a list of {role, content}.

    Raises `InvalidRequest` for a column that holds neither.
    """
    if series.dtype == pl.String:
        return ((text or "") for text in series)
    kind = series.dtype
    inner = kind.inner if isinstance(kind, pl.List) else None
    fields = {field.name for field in inner.fields} if isinstance(inner, pl.Struct) else set()
    if not {"role", "content"} <= fields:
        raise InvalidRequest(f"column {name!r} holds neither text nor conversations of {{role, content}}", param=name)
    return (_said(turns) for turns in series.to_list())


def _said(turns: list[dict[str, object]] | None) -> str:
    """What the assistant said in all turns. Content may come in parts, of which some are text."""
    told = []
    for turn in turns or ():
        content = turn.get("content")
        if turn.get("role") != "assistant":
            continue
        parts = content if isinstance(content, list) else [content]
        told += [str(part.get("text") or "") if isinstance(part, dict) else str(part or "") for part in parts]
    return "\n\n".join(told)
