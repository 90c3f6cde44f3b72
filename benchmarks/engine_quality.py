"""What 8-bit linear layers cost in quality: of the best bundled model its perplexity and skills, of a shape its logits.

Perplexity and logits are computed by transformers' own modules with the engine's layers put in,
so nothing else differs.
"""

from math import exp
from typing import Any

import torch
from transformers import AutoTokenizer

from agon import nano
from agon.engine.int8 import round_linears
from agon.nano.evaluate import Answers, questions
from agon.nano.skills import SKILLS, Item
from engine_peers import load_transformers
from engine_workloads import Item as Request


def quality(folder: str, items: list[Request], options: dict[str, Any]) -> dict[str, Any]:
    """Figures of the floats and of the rounded layers, side by side. `items` are prompts for the shape's logits."""
    name, path = list(nano.models().items())[-1]
    asked = [item for skill in SKILLS for item in questions(skill, options["questions"])]
    told: dict[str, Any] = {"model": name, "questions": len(asked)}
    model, tokenizer = load_transformers(str(path)), AutoTokenizer.from_pretrained(path)
    for dtype in ("float32", "int8"):
        if dtype == "int8":
            round_linears(model)
        answers = Answers(path, dtype)(asked, greedy=True)
        right = sum(ended and item.is_right(text) for item, (text, ended) in zip(asked, answers, strict=True))
        told[dtype] = {"skill_accuracy": right / len(asked), "perplexity": _perplexity(model, tokenizer, asked)}
    return told | {"logits": _logits(folder, items)}


@torch.inference_mode()
def _perplexity(model: Any, tokenizer: Any, items: list[Item]) -> float:
    """Of the right answers' tokens, behind their questions."""
    loss, count = 0.0, 0
    for item in items:
        prompt = tokenizer.apply_chat_template(
            [dict(message) for message in item.messages], add_generation_prompt=True, return_dict=False
        )
        answer = [*tokenizer.encode(item.answer, add_special_tokens=False), tokenizer.eos_token_id]
        logits = model(torch.tensor([[*prompt, *answer]]), logits_to_keep=len(answer) + 1).logits[0, :-1]
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
