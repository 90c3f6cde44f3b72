"""The small decisions of `agon chat`."""

import pytest

from agon.cli.chat import largest, printable
from agon.errors import ModelNotServed


def test_the_largest_model_is_talked_with() -> None:
    models = [{"id": "a", "parameters": 5}, {"id": "b", "parameters": 7}, {"id": "c", "parameters": None}, {"id": "d"}]
    assert largest(models) == "b"


def test_models_that_tell_no_size_are_taken_too() -> None:
    assert largest([{"id": "upstream", "parameters": None}]) == "upstream"


def test_no_model_is_said_plainly() -> None:
    with pytest.raises(ModelNotServed, match="agon models"):
        largest([])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 東京 🌱", "plain é 東京 🌱"),
        ("a\n\tb", "a\n\tb"),
        ("👩‍💻", "👩‍💻"),
        ("a\ud800b", "ab"),
        ("\x1b[2Jx\x00\r\x9b", "[2Jx"),
    ],
)
def test_control_characters_are_not_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
