"""Server-sent events from bytes (WHATWG HTML, section 9.2.6), as far as OpenAI uses them: the data of each event.

Lines end at LF or CRLF only, as in every server known to us: general line splitting would cut JSON at U+2028.
"""

from collections.abc import Iterator

from agon.errors import UpstreamFailed


class EventParser:
    """Feed chunks as they come; get each complete event's data."""

    def __init__(self, max_bytes: int = 4 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Raises `UpstreamFailed` for an event larger than the limit."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    yield b"\n".join(self._data)
                self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._check(self._data[-1])
        if len(self._rest) > self._max_bytes:
            raise UpstreamFailed("the upstream sent a line that is too large")

    def _check(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max_bytes:
            raise UpstreamFailed("the upstream sent an event that is too large")
