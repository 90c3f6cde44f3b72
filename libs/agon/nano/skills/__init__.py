"""What nano models are taught, as questions with right answers and a checker for any other answer. Knows no torch.

    >>> from random import Random
    >>> item = SKILLS["add"].held_out(Random(7))
    >>> item.is_right(item.answer)
    True

Training never sees an item that `held_out` can give: a hash of what is asked decides which of the two it is.
"""

from collections.abc import Iterator
from itertools import count as forever
from random import Random

from agon.nano.skills import context, fallback, formats, letters, numbers, ordering, rewriting, stories, talk, world
from agon.nano.skills.base import Item, Message, Skill

__all__ = ["SKILLS", "Item", "Message", "Skill", "held_out"]

_ALL = (
    Skill("greeting", "Greetings and small talk", talk.greeting, 0.8),
    Skill("identity", "Who are you, what can you do", talk.identity, 0.7),
    Skill("add", "Adding numbers below 100", numbers.add, 2.2),
    Skill("subtract", "Subtracting numbers below 100", numbers.subtract, 2.4),
    Skill("multiply", "Multiplying a number below 100 by a digit", numbers.multiply, 2.0),
    Skill("compare", "Comparing numbers below 1000", numbers.compare, 2.0),
    Skill("spell", "Spelling a word", letters.spell, 0.6),
    Skill("reverse", "Spelling a word backwards", letters.reverse, 1.2),
    Skill("upper", "Writing in capital letters", letters.upper, 1.4),
    Skill("sort", "Sorting words or numbers", ordering.sort, 2.2),
    Skill("count", "Counting words or letters", ordering.count, 1.5),
    Skill("plural", "Plurals", rewriting.plural, 0.5),
    Skill("opposite", "Opposites", rewriting.opposite, 0.6),
    Skill("facts", "Facts of a small made-up world", world.facts, 1.3),
    Skill("reading", "Questions about a given text", world.reading, 2.2),
    Skill("story", "Short made-up stories", stories.story, 0.4),
    Skill("list", "Numbered lists", formats.numbered_list, 1.2),
    Skill("json", "JSON objects", formats.json_object, 1.0),
    Skill("tool_call", "Tool calls", formats.tool_call, 0.8),
    Skill("follow_up", "Two to four turns of context", context.follow_up, 0.8),
    Skill("fallback", "A polite answer to what it cannot do", fallback.fallback, 1.0),
)
SKILLS: dict[str, Skill] = {skill.name: skill for skill in _ALL}


def held_out(seed: int) -> Iterator[Item]:
    """Held-out items without end, one skill after the other; the same seed gives the same items."""
    rng = Random(seed)
    names = list(SKILLS)
    for number in forever():
        if number % len(names) == 0:
            rng.shuffle(names)
        yield SKILLS[names[number % len(names)]].held_out(rng)
