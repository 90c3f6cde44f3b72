"""What of a chat is left out so that the rest fits."""

from collections.abc import Sequence

import pytest

from agon.engine.turns import SPARE, room_for_prompt, without_oldest

ROLES = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}


@pytest.mark.parametrize(
    ("chat", "most", "left"),
    [
        ("suauau", 6, "suauau"),
        ("suauau", 5, "suau"),
        ("suauau", 3, "su"),
        ("suauau", 1, "su"),  # the last turn stays
        ("sduauatauat", 8, "sduat"),  # and so do calls with their answers
        ("uau", 2, "u"),
        ("aauau", 3, "uau"),
        ("u", 0, "u"),
        ("s", 0, "s"),
        ("", 0, ""),
    ],
)
def test_as_few_of_the_oldest_turns_as_it_takes_are_left_out(chat: str, most: int, left: str) -> None:
    asked: list[int] = []

    def fits(messages: Sequence[str]) -> bool:
        asked.append(len(messages))
        return len(messages) <= most

    assert "".join(without_oldest(chat, ROLES.__getitem__, fits)) == left
    assert len(asked) <= 4


def test_an_answer_has_room_beside_its_prompt() -> None:
    assert room_for_prompt(8192, None) == 8192 - SPARE
    assert room_for_prompt(8192, 100) == 8092
    assert room_for_prompt(1024, 10**6) == 512
