"""The skills' items are right, their checkers can tell, and training never sees what is held out."""

import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from random import Random

import pytest

from agon.nano.skills import SKILLS, Item, Skill, held_out

EVERY = pytest.mark.parametrize("skill", SKILLS.values(), ids=SKILLS.keys())
NONSENSE = ("", "I like turtles and trains.", "42424242", "<tool_call>", "{}", "a-b-c-q-z", "The end.")


def held_out_items(name: str, count: int = 60) -> list[Item]:
    rng = Random(name)
    return [SKILLS[name].held_out(rng) for _ in range(count)]


@EVERY
def test_every_item_accepts_its_own_answer(skill: Skill) -> None:
    rng = Random(1)
    for level in (0.0, 0.5, 1.0):
        for item in [skill.train(rng, level) for _ in range(60)] + [skill.held_out(rng) for _ in range(20)]:
            assert skill.is_right(item, item.answer), item
            assert skill.is_right(item, f"  {item.answer}\n"), item


@EVERY
def test_no_item_accepts_nonsense(skill: Skill) -> None:
    for item in held_out_items(skill.name):
        for text in NONSENSE:
            assert not item.is_right(text), (item, text)


@pytest.mark.parametrize("name", [name for name in SKILLS if name != "follow_up"])
def test_an_answer_to_another_skill_is_wrong(name: str) -> None:
    # A follow-up asks for a spelling, an opposite or a plural too: its answers are theirs.
    rng = Random(2)
    others = [other.held_out(rng).answer for other in SKILLS.values() if other.name != name]
    for item in held_out_items(name, 20):
        assert not any(item.is_right(answer) for answer in others), item


@EVERY
def test_training_never_sees_what_is_held_out(skill: Skill) -> None:
    rng = Random(3)
    asked = {item.key for item in held_out_items(skill.name, 300)}
    trained = {skill.train(rng, rng.random()).key for _ in range(600)}
    assert not asked & trained


@EVERY
def test_the_same_seed_gives_the_same_item(skill: Skill) -> None:
    assert skill.held_out(Random(4)) == skill.held_out(Random(4))


@EVERY
def test_a_chat_ends_with_the_users_turn(skill: Skill) -> None:
    for item in held_out_items(skill.name):
        roles = [message["role"] for message in item.messages if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        assert all(message["content"] for message in item.messages)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("add", lambda item: item.answer.rsplit("=", 1)[0] + "= 1."),
        ("multiply", lambda item: item.answer + " Or maybe it is something else, such as 7 or 8 or more."),
        ("spell", lambda item: item.answer[:-2]),
        ("reverse", lambda item: item.answer.split(" ", 1)[0]),
        ("upper", lambda item: item.answer.lower()),
        ("sort", lambda item: ", ".join(reversed(item.answer.split(", ")))),
        ("list", lambda item: "\n".join(item.answer.splitlines()[:-1])),
        ("json", lambda item: item.answer.replace('"', "'")),
        ("tool_call", lambda item: item.answer.replace("</tool_call>", "")),
        ("story", lambda item: item.answer[: len(item.answer) // 2]),
        ("story", lambda item: item.answer.replace("day", "dayt")),
        ("greeting", lambda item: "Sorry, that is too hard for me. I am only a very small model."),
    ],
)
def test_an_almost_right_answer_is_wrong(name: str, wrong: Callable[[Item], str]) -> None:
    for item in held_out_items(name):
        assert not item.is_right(wrong(item)), (item, wrong(item))


def test_held_out_gives_all_skills_in_turn() -> None:
    items = list(islice(held_out(5), 3 * len(SKILLS)))
    assert [item.skill for item in items].count("add") == 3
    assert {item.skill for item in items} == set(SKILLS)
    assert all(item.is_held_out and not item.drill for item in items)
    assert items == list(islice(held_out(5), 3 * len(SKILLS)))


def test_skills_need_no_torch() -> None:
    code = "import sys, agon.nano, agon.nano.skills; agon.nano.models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
