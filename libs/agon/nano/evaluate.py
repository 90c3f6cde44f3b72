"""How well a model does what it was taught: the share of right answers to held-out items, skill by skill."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agon.nano.skills import SKILLS, Item

ITEMS = 100
SEED = 2026
BATCH = 210


@dataclass(frozen=True, slots=True)
class Score:
    """Of one skill: shares of right answers, greedy and at the model's default temperature, and greedy answers that
    ended by themselves."""

    greedy: float
    sampled: float
    ended: float


class Answers:
    """A saved model that answers chats with transformers' own `generate`, in fp32."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def __call__(self, items: Sequence[Item], greedy: bool) -> list[tuple[str, bool]]:
        """For each item the answer, and whether it ended by itself."""
        prompts = [
            self.tokenizer.apply_chat_template(
                [dict(message) for message in item.messages], tokenize=False, add_generation_prompt=True
            )
            for item in items
        ]
        batch = self.tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
        longest = max(len(ids) for ids in self.tokenizer([item.answer for item in items])["input_ids"])
        # An answer that is half as long again as any right one is lost; do not wait for its end.
        limits = {"max_new_tokens": longest * 3 // 2 + 16}
        with torch.inference_mode():
            if greedy:
                out = self.model.generate(**batch, **limits, do_sample=False, temperature=None, top_p=None)
            else:
                out = self.model.generate(**batch, **limits)
        new = out[:, batch["input_ids"].shape[1] :]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        ended = (new == self.tokenizer.eos_token_id).any(dim=1).tolist()
        return list(zip(texts, ended, strict=True))


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


def measure(folder: Path, count: int = ITEMS) -> dict[str, Score]:
    """The scores of a saved model, by skill."""
    answer = Answers(folder)
    torch.manual_seed(SEED)
    # Items with answers of like length go together: a batch runs until its longest answer has ended.
    items = sorted((item for skill in SKILLS for item in questions(skill, count)), key=lambda item: len(item.answer))
    right: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    ended: Counter[str] = Counter()
    for start in range(0, len(items), BATCH):
        part = items[start : start + BATCH]
        for greedy in (True, False):
            for item, (text, has_ended) in zip(part, answer(part, greedy), strict=True):
                right[greedy][item.skill] += has_ended and item.is_right(text)
                ended[item.skill] += greedy and has_ended
    return {
        skill: Score(right[True][skill] / count, right[False][skill] / count, ended[skill] / count) for skill in SKILLS
    }
