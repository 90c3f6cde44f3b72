"""Training data without end: chats of skills' items, packed into rows of tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from agon.nano.chat import END, START, pieces
from agon.nano.skills import SKILLS, Message

_SYSTEM = ("You are a helpful assistant.", "Answer politely.", "You are Nano.", "Be brief.", "You are a small model.",
           "You are a friendly assistant.", "Answer the user.", "Be kind and helpful.")  # fmt: skip
_WEIGHTS = [skill.weight for skill in SKILLS.values()]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of packed chats: `tokens` (rows, length + 1), `learned` (rows, length) says which next tokens count,
    `chat` (rows, length) numbers the chats of a row: a token sees only its own chat."""

    tokens: Tensor
    learned: Tensor
    chat: Tensor

    @property
    def mask(self) -> Tensor:
        """Who sees whom: bool (rows, 1, length, length)."""
        length = self.chat.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        return ((self.chat[:, :, None] == self.chat[:, None, :]) & causal)[:, None]


def conversation(rng: Random, level: float, going_on: float) -> list[Message]:
    """A chat of one item, or of several that have nothing to do with each other: one more with this chance."""
    messages: list[Message] = []
    while True:
        item = rng.choices(list(SKILLS.values()), _WEIGHTS)[0].train(rng, level)
        has_system = item.messages[0]["role"] == "system"
        if has_system and messages:
            continue
        if not messages and not has_system and rng.random() < 0.12:
            messages.append({"role": "system", "content": rng.choice(_SYSTEM)})
        messages += [*item.messages, {"role": "assistant", "content": item.answer}]
        if rng.random() >= going_on:
            return messages


def texts(seed: int, count: int) -> Iterator[str]:
    """The text of chats as the template writes it, without its control tokens: what a tokenizer is made for."""
    rng = Random(f"texts/{seed}")
    for _ in range(count):
        for text, _ in pieces(conversation(rng, 1.0, 0.0)):
            yield text.replace(START, "").replace(END, "")


class Corpus:
    """The training data of one run. Each step's batch depends only on the seed and the step: a run can go on later."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: str) -> None:
        self._encode = tokenizer.backend_tokenizer.encode_batch
        self._seed = seed

    def batch(self, step: int, rows: int, length: int, level: float, going_on: float) -> Batch:
        """`rows` rows of `length` tokens to predict. `level` bounds the items' size, `going_on` is the chance of a
        further turn in a chat."""
        rng = Random(f"{self._seed}/{step}")
        tokens, learned, chats = [], [], []
        for _ in range(rows):
            row: list[int] = []
            row_learned: list[bool] = []
            row_chats: list[int] = []
            number = 0
            while len(row) <= length:
                cut = pieces(conversation(rng, level, going_on))
                encoded = self._encode([text for text, _ in cut], add_special_tokens=False)
                for (_, is_learned), encoding in zip(cut, encoded, strict=True):
                    row += encoding.ids
                    row_learned += [is_learned] * len(encoding.ids)
                    row_chats += [number] * len(encoding.ids)
                number += 1
            tokens.append(row[: length + 1])
            learned.append(row_learned[1 : length + 1])
            chats.append(row_chats[:length])
        return Batch(torch.tensor(tokens), torch.tensor(learned), torch.tensor(chats))
