"""Puts the pieces of one list in order: what comes over the channel, and what is read from the list itself. Pure.

The channel may lose, repeat and (around a reconnect) be overtaken by the list; a list may be lost and begin again under
another name. Frames come out each once and in order of their list; `BEGIN_AGAIN` stands where another list begins.
"""

from collections.abc import Sequence
from typing import Final

from agon.stream.frames import Frame

BEGIN_AGAIN: Final = None
PAGE = 512
"""Frames that are read from a list at once."""


class Inbox:
    """Holds at most about `most` frames for a reader that is slow; what does not fit stays in the list.

    `deliver` and `read` return whether the list should be read (again) from `received` on.
    """

    def __init__(self, most: int) -> None:
        self.list: str | None = None
        """The name of the list that is read; None before anything was seen of one."""
        self.received = 0
        """Frames of that list that came in, without a hole."""
        self.begun = False
        """Whether any frame has ever come in."""
        self.behind = False
        """Whether there is more in the list than what came in: until it is read, the channel's frames don't fit."""
        self._known_end = 0
        self._most = most
        self._frames: list[Frame | None] = []

    def deliver(self, name: str, index: int, frames: Sequence[Frame]) -> bool:
        """Frames came over the channel; `index` is the place of the first one in the list of this name."""
        if name != self.list:
            fits = self.list is None and index == 0 and len(frames) > 0
            self._turn_to(name)
            self.behind = not fits
        end = index + len(frames)
        self._known_end = max(self._known_end, end)
        if end <= self.received:
            return self.behind and self.hungry
        if self.behind or index > self.received or len(self._frames) >= self._most:
            self.behind = True
            return self.hungry
        self._add(frames[self.received - index :])
        return False

    def read(self, name: str, start: int, frames: Sequence[Frame]) -> bool:
        """This is what the list of this name has from `start` on, at most a page."""
        if name != self.list:
            self._turn_to(name)
        if start > self.received:
            self.behind = True
            return self.hungry
        self._add(frames[self.received - start :])
        self.behind = len(frames) >= PAGE or self.received < self._known_end
        return self.behind and self.hungry

    def drain(self) -> list[Frame | None]:
        """Take out all that is there."""
        frames, self._frames = self._frames, []
        return frames

    @property
    def hungry(self) -> bool:
        """Whether there is room for what the list has."""
        return len(self._frames) < self._most

    def __len__(self) -> int:
        return len(self._frames)

    def _turn_to(self, name: str) -> None:
        if self.list is not None:
            self._frames.append(BEGIN_AGAIN)
        self.list = name
        self.received = self._known_end = 0

    def _add(self, frames: Sequence[Frame]) -> None:
        self._frames += frames
        self.received += len(frames)
        self.begun = self.begun or len(frames) > 0
