"""What 8-bit linear layers cost in quality: of the best bundled model its perplexity and skills, of a shape its logits.

Both are computed by transformers' own modules with the engine's layers put in, so nothing else differs.
"""

from math import exp
from typing import Any

import torch

from agon import nano
from agon.engine.int8 import round_linears
from agon.nano.evaluate import BATCH, Answers, questions
from agon.nano.skills import SKILLS, Item
from engine_peers import load_transformers
from engine_workloads import Item as Request


def quality(folder: str, items: list[Request], options: dict[str, Any]) -> dict[str, Any]:
    """Figures of the floats and of the rounded layers, side by side. `items` are prompts for the shape's logits."""
    name, path = list(nano.models().items())[-1]
    asked = [item for skill in SKILLS for item in questions(skill, options["questions"])]
    asked.sort(key=lambda item: len(item.answer))
    told: dict[str, Any] = {"model": name, "questions": len(asked)}
    for dtype in ("float32", "int8"):
        answers = Answers(path)
        if dtype == "int8":
            round_linears(answers.model)
        right = sum(
            ended and item.is_right(text)
            for start in range(0, len(asked), BATCH)
            for item, (text, ended) in zip(
                asked[start : start + BATCH], answers(asked[start : start + BATCH], True), strict=True
            )
        )
        told[dtype] = {"skill_accuracy": right / len(asked), "perplexity": _perplexity(answers, asked)}
    return told | {"logits": _logits(folder, items)}


@torch.inference_mode()
def _perplexity(answers: Answers, items: list[Item]) -> float:
    """Of the right answers' tokens, behind their questions."""
    loss, count = 0.0, 0
    for item in items:
        tokenizer = answers.tokenizer
        prompt = tokenizer.apply_chat_template(
            [dict(message) for message in item.messages], add_generation_prompt=True, return_dict=False
        )
        answer = [*tokenizer.encode(item.answer, add_special_tokens=False), tokenizer.eos_token_id]
        logits = answers.model(torch.tensor([[*prompt, *answer]]), logits_to_keep=len(answer) + 1).logits[0, :-1]
        loss += torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum").item()
        count += len(answer)
    return exp(loss / count)


@torch.inference_mode()
def _logits(folder: str, items: list[Request]) -> dict[str, float]:
    """How far the rounded layers' logits are from the floats': relative to their size, and as first choices."""
    model = load_transformers(folder)
    exact = [model(torch.tensor([item.prompt])).logits[0] for item in items]
    round_linears(model)
    rounded = [model(torch.tensor([item.prompt])).logits[0] for item in items]
    a, b = torch.cat(exact), torch.cat(rounded)
    return {
        "relative_error": (torch.linalg.norm(b - a) / torch.linalg.norm(a)).item(),
        "same_first_choice": (a.argmax(-1) == b.argmax(-1)).float().mean().item(),
    }
