"""The server-sent events of a battle, as bytes: every one padded to a whole number of `BUCKET` bytes, so that sizes on
the wire tell no more than the words do."""

import json
from typing import Any

from agon.arena.battle import Side

BUCKET = 256
"""Holds a delta of the fastest pace in any script; only a text of long joined characters needs two."""


def event(name: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    """One event, with a comment in front that fills it up."""
    lines = f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"
    if event_id is not None:
        lines = f"id: {event_id}\n{lines}"
    body = lines.encode()
    return b":" + b"." * (-(len(body) + 2) % BUCKET) + b"\n" + body


def delta_event(side: Side, text: str, shown_a: int, shown_b: int) -> bytes:
    """More of one side. The id counts the characters shown so far, of this event too, as `a-b`."""
    return event("delta", {"side": side, "text": text}, f"{shown_a}-{shown_b}")


def done_event(finish_a: str, finish_b: str, shown_a: int, shown_b: int) -> bytes:
    """Both are complete."""
    return event("done", {"finish_reasons": {"a": finish_a, "b": finish_b}}, f"{shown_a}-{shown_b}")


def failed_event(side: Side, error: dict[str, Any]) -> bytes:
    """A side did not make it: there is nothing to vote on."""
    return event("failed", {"side": side, "error": error})


def end_event() -> bytes:
    """Nothing more comes."""
    return event("end", {})


def position(event_id: str | None) -> tuple[int, int]:
    """What a client that sends this `Last-Event-ID` has seen of a and b; nothing, where it is not one of ours."""
    first, separator, second = (event_id or "").partition("-")
    if not separator or not (first.isascii() and first.isdigit() and second.isascii() and second.isdigit()):
        return 0, 0
    return (int(first), int(second)) if len(first) < 10 and len(second) < 10 else (0, 0)
