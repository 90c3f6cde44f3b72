"""The documentation's examples run, and leave no public name out."""

import doctest
from pathlib import Path

import agon.ratings

PAGE = Path(__file__).parents[4] / "docs" / "ratings.md"


def test_the_pages_examples_say_what_happens() -> None:
    assert doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8").failed == 0


def test_the_examples_in_docstrings_do_too() -> None:
    for module in (agon.ratings, agon.ratings.ranking):
        assert doctest.testmod(module).failed == 0


def test_every_public_name_is_on_the_page_and_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in agon.ratings.__all__:
        assert f"`{name}`" in text, name
        if callable(getattr(agon.ratings, name)):
            assert getattr(agon.ratings, name).__doc__, name
