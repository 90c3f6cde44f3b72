"""What `agon up` says while it works: one line per event, the same in a terminal and in a file."""

import sys
import time
from typing import TextIO


class Terminal:
    """Lines with the seconds since the start and the part they are about. Never waits, never fails."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._began = time.monotonic()
        self._last = self._began

    def tell(self, part: str, event: str) -> None:
        self.plain(f"{time.monotonic() - self._began:6.1f} s  {part:<14} {event}")

    def plain(self, text: str) -> None:
        """A line as it is: what scripts read, or a person copies."""
        self._last = time.monotonic()
        try:
            print(text, file=self._out, flush=True)
        except (OSError, ValueError):
            pass  # the terminal is gone; the stack is not

    @property
    def silent_for(self) -> float:
        """Seconds since the last line."""
        return time.monotonic() - self._last
