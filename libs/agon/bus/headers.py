"""CloudEvents in binary mode, and W3C trace context: written on everything we produce, required on nothing we consume.

Source: CloudEvents 1.0.2, Kafka protocol binding, section 3.2 (attributes as `ce_` headers, the value unchanged).
"""

import re
from collections.abc import Callable, Iterable

from agon.messages import Message, now, rfc3339
from agon.telemetry import new_traceparent

Headers = tuple[tuple[str, bytes], ...]

_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def event_type(message: type[Message], version: int = 1) -> str:
    """`agon.generation_completed.v1` for `GenerationCompleted`."""
    return f"agon.{_WORD.sub('_', message.__name__).lower()}.v{version}"


def event_headers(message: Message, *, id: str, source: str, traceparent: str | None = None) -> Headers:
    """The headers of a record that carries `message`. `source` is the process, `id` is unique within it."""
    return headers_for(type(message), source=source, traceparent=traceparent)(id)


def headers_for(message: type[Message], *, source: str, traceparent: str | None = None) -> Callable[[str], Headers]:
    """The headers of many records that carry this type of message and are made together: a function of their id."""
    first = (
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type(message).encode()),
        ("ce_source", f"/agon/{source}".encode()),
    )
    last = (
        ("ce_time", rfc3339(now()).encode()),
        ("content-type", b"application/json"),
        ("traceparent", (traceparent or new_traceparent()).encode()),
    )
    return lambda id: (*first, ("ce_id", id.encode()), *last)


def traceparent(headers: Iterable[tuple[str, bytes]]) -> str | None:
    """The trace that a record belongs to, None where it names none or names it wrongly."""
    for name, value in headers:
        if name.lower() == "traceparent" and value is not None:
            text = value.decode("ascii", "replace")
            if _TRACEPARENT.match(text):
                return text
    return None
