"""Which of a chat's oldest messages are left out so that the rest fits. Pure."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

SPARE = 1024
"""Tokens that are left for an answer that names no most; never more than half of the context."""
_LEADING = ("system", "developer")

M = TypeVar("M")


def room_for_prompt(context: int, most: int | None) -> int:
    """Tokens that a prompt may have, so that its answer of at most so many has room."""
    return context - min(SPARE if most is None else most, context // 2)


def without_oldest(messages: Sequence[M], role: Callable[[M], str], fits: Callable[[Sequence[M]], bool]) -> Sequence[M]:
    """The messages without as few of the oldest turns as it takes to fit: what the system says in front stays, and the
    last turn, whether or not that fits. A turn begins with a user's message, so that no call loses its answer.

    `fits` is asked about the logarithm of the number of turns, and says yes to less of what it says yes to.
    """
    lead = next((index for index, one in enumerate(messages) if role(one) not in _LEADING), len(messages))
    begins = [lead, *(index for index in range(lead + 1, len(messages)) if role(messages[index]) == "user")]

    def left(turn: int) -> Sequence[M]:
        return (*messages[:lead], *messages[begins[turn] :])

    return left(bisect_left(range(len(begins) - 1), True, key=lambda turn: fits(left(turn))))
