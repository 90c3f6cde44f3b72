"""How many requests of batches a worker takes on beside interactive ones: as many as those don't notice. Pure.

Whoever asks something waits for the step that is under way, and for an event loop that is busy with others; both grow
with what runs. So the room for batches grows by one as long as both are quick, and halves when they are not.
"""

from datetime import timedelta

_COMPANY_SECONDS = 10.0
_LATER = 0.1  # of the patience with steps is that with the event loop: an answer's way through it is so much shorter
_SMOOTH = 0.2  # a look: a late moment is chance, half a second of them is not
_FORGET = 1.01  # a look: what a step takes at least is found out anew within minutes


class Courtesy:
    """`patience` is how much longer a step may become by batches; the event loop may become later by a tenth of it."""

    def __init__(self, patience: timedelta) -> None:
        self._patience = patience.total_seconds()
        self._room = 1
        self._least_step: float | None = None
        self._late = 0.0
        self._quiet_late = 0.0
        """The same where hardly a request of a batch is there: with a thread that computes, it's late by itself."""
        self._greeted_at: float | None = None

    def greet(self, moment: float) -> None:
        """An interactive request has come, at this time in seconds."""
        self._greeted_at = moment

    def look(self, late: float, step: float | None, taken: int) -> None:
        """What has happened since the last look: how late the event loop was, the longest step (None where there was
        none) in seconds; and how many requests of batches are in our hands."""
        self._late += _SMOOTH * (late - self._late)
        if taken <= 1:
            self._quiet_late += _SMOOTH * (late - self._quiet_late)
        slow = self._late - self._quiet_late > self._patience * _LATER
        if step is not None:
            self._least_step = min(step, (self._least_step or step) * _FORGET)
            slow = slow or step > self._least_step + self._patience
        if slow:
            self._room = max(1, min(self._room, taken) // 2)
        elif taken >= self._room:
            self._room += 1

    def room(self, moment: float) -> int | None:
        """How many requests of batches there may be of a model; None for no bound, where nobody else asks."""
        if self._greeted_at is None or moment - self._greeted_at > _COMPANY_SECONDS:
            return None
        return self._room
