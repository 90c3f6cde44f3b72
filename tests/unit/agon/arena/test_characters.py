"""What is shown is never cut inside of a character as people see it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.arena.characters import LONGEST, Characters


def split(text: str) -> list[str]:
    characters = Characters()
    characters.feed(text)
    characters.end()
    return [characters.text(at, at + 1) for at in range(len(characters))]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("abc", ["a", "b", "c"]),
        ("e\u0301a", ["e\u0301", "a"]),
        ("👍🏽!", ["👍🏽", "!"]),
        ("👩\u200d🚀x", ["👩\u200d🚀", "x"]),
        ("❤\ufe0f", ["❤\ufe0f"]),
        ("🇫🇷🇩🇪", ["🇫🇷", "🇩🇪"]),
        ("a\r\nb\n", ["a", "\r\n", "b", "\n"]),
        ("का", ["का"]),
        ("", []),
    ],
)
def test_a_character_keeps_what_belongs_to_it(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@given(st.text(), st.lists(st.integers(0, 50)))
def test_how_a_text_arrives_in_pieces_does_not_change_its_characters(text: str, cuts: list[int]) -> None:
    pieces = Characters()
    at = 0
    for cut in cuts:
        pieces.feed(text[at : at + cut])
        at += cut
    pieces.feed(text[at:])
    pieces.end()
    assert [pieces.text(n, n + 1) for n in range(len(pieces))] == split(text)
    assert pieces.text() == text


def test_the_last_character_waits_for_what_may_join_it() -> None:
    characters = Characters()
    characters.feed("ae")
    assert characters.text() == "a"
    characters.feed("\u0301")
    assert characters.text() == "a"
    characters.end()
    assert characters.text() == "ae\u0301"


def test_an_endless_row_of_marks_still_moves() -> None:
    assert max(map(len, split("a" + "\u0301" * 1000))) <= LONGEST
