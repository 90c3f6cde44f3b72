"""How well a model does what it was taught: the share of right answers to held-out items, skill by skill."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from agon.engine import Engine, SamplingParams
from agon.nano.skills import SKILLS, Item

ITEMS = 100
SEED = 2026


@dataclass(frozen=True, slots=True)
class Score:
    """Of one skill: shares of right answers, greedy and at the model's default temperature, and greedy answers that
    ended by themselves."""

    greedy: float
    sampled: float
    ended: float


class Answers:
    """A saved model that answers chats as agon serves it: our engine, in fp32."""

    def __init__(self, folder: Path, dtype: str = "float32") -> None:
        self.engine = Engine.from_pretrained(folder, dtype=dtype)

    def __call__(self, items: Sequence[Item], greedy: bool) -> list[tuple[str, bool]]:
        """For each item the answer, and whether it ended by itself; greedy, or at the model's default temperature."""
        temperature = 0.0 if greedy else None
        params = [
            # An answer that is half as long again as any right one is lost; do not wait for its end.
            SamplingParams(temperature=temperature, seed=SEED, max_tokens=self._length(item) * 3 // 2 + 16)
            for item in items
        ]
        answers = self.engine.generate([item.messages for item in items], params)
        return [(answer.text, answer.finish_reason == "stop") for answer in answers]

    def _length(self, item: Item) -> int:
        """Tokens of the right answer."""
        return len(self.engine.tokenizer.encode(item.answer, self.engine.context_length))


def questions(skill: str, count: int = ITEMS) -> list[Item]:
    """The held-out items that a model is measured on: the same for all models. Different ones, as far as there are."""
    rng = Random(f"{SEED}/{skill}")
    found: dict[str, Item] = {}
    more: list[Item] = []
    for _ in range(20 * count):
        item = SKILLS[skill].held_out(rng)
        if found.setdefault(item.messages[-1]["content"] + item.key, item) is not item:
            more.append(item)
        if len(found) == count:
            break
    return [*found.values(), *more][:count]


def measure(folder: Path, count: int = ITEMS, dtype: str = "float32") -> dict[str, Score]:
    """The scores of a saved model, by skill."""
    answer = Answers(folder, dtype)
    items = [item for skill in SKILLS for item in questions(skill, count)]
    right: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    ended: Counter[str] = Counter()
    for greedy in (True, False):
        for item, (text, has_ended) in zip(items, answer(items, greedy), strict=True):
            right[greedy][item.skill] += has_ended and item.is_right(text)
            ended[item.skill] += greedy and has_ended
    return {
        skill: Score(right[True][skill] / count, right[False][skill] / count, ended[skill] / count) for skill in SKILLS
    }
