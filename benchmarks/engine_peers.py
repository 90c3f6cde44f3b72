"""Each peer's way through a list of requests: all return what was answered when, in the same form.

What is timed is the work, neither loading nor warming up.
"""

import resource
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from engine_workloads import Item


class Timeline:
    """When which token of which request came, in seconds since `begin`."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.tokens: list[list[int]] = [[] for _ in items]
        self.times: list[list[float]] = [[] for _ in items]
        self.begin()

    def begin(self) -> None:
        self._zero = time.perf_counter()

    @property
    def now(self) -> float:
        return time.perf_counter() - self._zero

    def add(self, index: int, token: int, at: float | None = None) -> bool:
        """Note a token that came now; whether it was the last that the request wants."""
        self.tokens[index].append(token)
        self.times[index].append(self.now if at is None else at - self._zero)
        return len(self.tokens[index]) >= self.items[index].limit

    def result(self, **more: Any) -> dict[str, Any]:
        """Raises `SystemExit` when a request did not get what it wanted."""
        for index, (item, tokens) in enumerate(zip(self.items, self.tokens, strict=True)):
            if len(tokens) != item.limit:
                raise SystemExit(f"request {index} got {len(tokens)} tokens, {item.limit} were due")
        return {
            "wall": max(times[-1] for times in self.times),
            "tokens": self.tokens,
            "times": self.times,
            "arrivals": [item.at for item in self.items],
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            **more,
        }


def load_transformers(folder: str) -> Any:
    """The model as transformers runs it, in 32-bit floats."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    return model.eval()


def _generate(model: Any, items: Sequence[Item], indices: Sequence[int], timeline: Timeline) -> None:
    """One call of `generate` for these requests, padded on the left, each row ended at its own length."""
    from transformers import StoppingCriteriaList

    width = max(len(items[i].prompt) for i in indices)
    ids = torch.zeros((len(indices), width), dtype=torch.int64)
    seen = torch.zeros_like(ids)
    for row, i in enumerate(indices):
        ids[row, width - len(items[i].prompt) :] = torch.tensor(items[i].prompt)
        seen[row, width - len(items[i].prompt) :] = 1
    open_rows = set(range(len(indices)))

    def step(input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if row in open_rows and timeline.add(indices[row], token):
                open_rows.discard(row)
        return torch.tensor([row not in open_rows for row in range(len(indices))])

    most = max(items[i].limit for i in indices)
    model.generate(
        ids,
        attention_mask=seen,
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        stopping_criteria=StoppingCriteriaList([step]),
    )


def one_by_one(folder: str, items: Sequence[Item], options: dict[str, Any]) -> dict[str, Any]:
    """transformers' `generate`, a request after the other: the reference, so it also tells how sure each token was."""
    model = load_transformers(folder)
    _generate(model, [Item(items[0].prompt, 4)], [0], Timeline([Item([], 4)]))
    timeline = Timeline(items)
    for index in range(len(items)):
        _generate(model, items, [index], timeline)
    result = timeline.result()
    return result | {"margins": [_margins(model, *pair) for pair in zip(items, timeline.tokens, strict=True)]}


@torch.inference_mode()
def _margins(model: Any, item: Item, answer: list[int]) -> list[float]:
    """By how much the first choice of each token was ahead of the second, in logits."""
    ids = torch.tensor([item.prompt + answer[:-1]])
    logits = model(ids, logits_to_keep=len(answer)).logits[0]
    best = logits.topk(2, dim=-1).values
    return [round(margin, 7) for margin in (best[:, 0] - best[:, 1]).tolist()]


def static_batch(folder: str, items: Sequence[Item], options: dict[str, Any]) -> dict[str, Any]:
    """transformers' `generate` on batches of `batch` in the order they came."""
    model = load_transformers(folder)
    _generate(model, [Item(items[0].prompt, 4)], [0], Timeline([Item([], 4)]))
    timeline = Timeline(items)
    size = options["batch"]
    for start in range(0, len(items), size):
        _generate(model, items, range(start, min(start + size, len(items))), timeline)
    return timeline.result()


def continuous_batching(folder: str, items: Sequence[Item], options: dict[str, Any]) -> dict[str, Any]:
    """transformers' continuous batching; `options` are its configuration. Requests are added when they arrive."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    model = load_transformers(folder)
    generation: Any = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, eos_token_id=-1, pad_token_id=0, max_new_tokens=256
    )
    manager = model.init_continuous_batching(generation, ContinuousBatchingConfig(**options))
    manager.start()
    try:
        manager.add_request([1] * 32, request_id="warm", max_new_tokens=4)
        while not ((first := manager.get_result(timeout=1)) and first.is_finished()):
            pass
        timeline = Timeline(items)
        waiting = sorted(range(len(items)), key=lambda i: items[i].at)
        left = len(items)
        while left:
            while waiting and items[waiting[0]].at <= timeline.now:
                index = waiting.pop(0)
                manager.add_request(
                    items[index].prompt, str(index), max_new_tokens=items[index].limit, record_timestamps=True
                )
            patience = max(0.001, items[waiting[0]].at - timeline.now) if waiting else 1
            answer = manager.get_result(timeout=patience)
            if answer is None:
                if not manager.is_running():
                    raise SystemExit("continuous batching died")
            elif answer.is_finished():
                left -= 1
                for token, at in zip(answer.generated_tokens, answer.timestamps, strict=True):
                    timeline.add(int(answer.request_id), token, at)
    finally:
        manager.stop(block=True, timeout=10)
    return timeline.result()


def ctranslate2(folder: str, items: Sequence[Item], options: dict[str, Any]) -> dict[str, Any]:
    """CTranslate2 on batches of like length, which is its best: it has no continuous batching."""
    library: Any = import_module("ctranslate2")
    converted = Path(folder) / f"ctranslate2-{options['type']}"
    if not converted.is_dir():
        converter = library.converters.TransformersConverter(folder)
        converter.convert(str(converted), quantization=options["type"])
    generator = library.Generator(str(converted), compute_type=options["type"], intra_threads=torch.get_num_threads())
    names = _names(folder)
    generator.generate_batch([[names[1]] * 8], max_length=4, sampling_topk=1, include_prompt_in_result=False)
    timeline = Timeline(items)
    order = sorted(range(len(items)), key=lambda i: items[i].limit)
    size = options["batch"]
    for start in range(0, len(order), size):
        chosen = order[start : start + size]

        def told(step: Any, chosen: Sequence[int] = chosen) -> bool:
            return timeline.add(chosen[step.batch_id], step.token_id)

        generator.generate_batch(
            [[names[token] for token in items[i].prompt] for i in chosen],
            max_length=max(items[i].limit for i in chosen),
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=[],
            callback=told,
        )
    return timeline.result()


def _names(folder: str) -> list[str]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))


ENGINES: dict[str, Callable[[str, Sequence[Item], dict[str, Any]], dict[str, Any]]] = {
    "one_by_one": one_by_one,
    "static_batch": static_batch,
    "continuous_batching": continuous_batching,
    "ctranslate2": ctranslate2,
}
