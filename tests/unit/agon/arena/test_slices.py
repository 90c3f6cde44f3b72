"""In which slices a vote counts."""

from typing import Any

import pytest

from agon.arena.categories import categories
from agon.arena.language import detect
from agon.arena.slices import Facts, declared_slices, slices
from agon.errors import SetupError

ANSWERED = Facts(
    models=("x", "y"),
    turn=1,
    language="de",
    categories=("code", "format"),
    prompt_characters=120,
    answer_characters=(300, 20),
    voter_kind="anonymous",
)


def where(**conditions: Any) -> dict[str, Any]:
    return {"slices": [{"name": "own", "where": conditions}]}


def test_a_vote_is_in_one_slice_of_each_kind_and_in_all_its_categories() -> None:
    assert slices(ANSWERED) == (
        "overall", "language-de", "category-code", "category-format", "turn-first", "length-medium",
    )  # fmt: skip


def test_what_nobody_knows_is_a_slice_of_its_own() -> None:
    assert slices(Facts(("x", "y"), turn=3)) == (
        "overall", "language-unknown", "category-unknown", "turn-later", "length-unknown",
    )  # fmt: skip
    assert "category-other" in slices(Facts(("x", "y"), categories=()))


def test_a_category_that_is_stated_twice_is_one_slice() -> None:
    found = slices(Facts(("x", "y"), imported=True, categories=("code", "own", "code", "own")), (), ("own",))
    assert found == ("overall", "category-code", "category-own")


def test_an_import_is_in_the_slices_of_what_it_states() -> None:
    assert slices(Facts(("x", "y"), imported=True)) == ("overall",)
    stated = Facts(("x", "y"), imported=True, language="fr", categories=("maths", "hard", "made-up"))
    assert slices(stated, own_categories=["hard"]) == ("overall", "language-fr", "category-maths", "category-hard")


@pytest.mark.parametrize("language", ["", "*", "i-klingon; drop", "x" * 40, "123"])
def test_what_can_be_no_language_is_unknown(language: str) -> None:
    assert "language-unknown" in slices(Facts(("x", "y"), language=language))


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({"language": ["de", "fr"]}, True),
        ({"language": ["fr"]}, False),
        ({"categories": ["code"]}, True),
        ({"categories": ["code", "maths"]}, False),
        ({"models": ["x", "y", "z"]}, True),
        ({"models": ["x", "z"]}, False),
        ({"turn": {"most": 1}, "prompt_characters": {"least": 100, "most": 200}}, True),
        ({"turn": {"most": 1}, "prompt_characters": {"least": 121}}, False),
        ({"answer_characters": {"least": 300}}, True),
        ({"voter_kind": ["simulated"]}, False),
    ],
)
def test_a_declared_slice_holds_where_all_its_conditions_do(conditions: dict[str, Any], holds: bool) -> None:
    assert ("own" in slices(ANSWERED, declared_slices(where(**conditions)))) is holds


def test_an_unknown_fact_meets_no_condition() -> None:
    declared = declared_slices(where(prompt_characters={"most": 10**9}))
    assert "own" not in slices(Facts(("x", "y")), declared)


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ({"slices": "no"}, "must be a list"),
        ({"slices": [{"where": {"turn": {"least": 1}}}]}, "not None"),
        ({"slices": [{"name": "language-en", "where": {"language": ["en"]}}]}, "no built-in one"),
        ({"slices": [{"name": "own"}]}, "needs `where`"),
        (where(outcome=["a"]), "no fact"),
        (where(language="en"), "list of strings"),
        (where(turn={"least": "2"}), "integers"),
        (where(turn={}), "integers"),
        ({"slices": [{"name": "own", "where": {"language": ["en"]}}] * 2}, "the same name"),
    ],
)
def test_a_wrong_rule_is_named(policy: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SetupError, match=complaint):
        declared_slices(policy)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is 12 plus 30?", ("maths",)),
        ("Write a python function that reverses a list", ("code", "format")),
        ("int main() {\n  return x;\n}", ("code",)),
        ("Write a poem about the sea in four lines", ("format", "creative")),
        ("Translate 'good morning' into French", ("translate",)),
        ("Summarize this: " + "word " * 300, ("summarise", "long")),
        ("Explain why the sky is blue", ("reasoning",)),
        ("Who are you?", ()),
    ],
)
def test_categories_follow_from_the_words(text: str, found: tuple[str, ...]) -> None:
    assert categories(text) == found


def test_categories_of_a_hostile_text_take_no_time_to_speak_of() -> None:
    for text in ("a(" * 50_000, "say " * 50_000, "{" * 100_000, "1 " * 50_000, "(" * 100_000, "w" * 100_000):
        categories(text)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How many vowels are in the word banana?", "en"),
        ("Wie heißt die Hauptstadt von Frankreich?", "de"),
        ("Quelle est la capitale de la France ?", "fr"),
        ("こんにちは、元気ですか", "ja"),
        ("12+30", None),
        ("", None),
        ("ok", None),
    ],
)
def test_a_language_is_detected_or_unknown(text: str, language: str | None) -> None:
    assert detect(text) == language
