"""agon's way through the same requests, with what only it can tell: where a step's time goes, and the GEMMs' floor."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from agon.engine import Engine, Finished, Guide, Limits, Request, SamplingParams, Tokens
from engine_peers import Timeline, load_transformers
from engine_workloads import Item


class Watched:
    """Notes of every forward pass its seconds, tokens and rows of logits."""

    def __init__(self, engine: Engine) -> None:
        self.steps: list[tuple[int, int]] = []
        self.seconds = 0.0
        forward = engine.model.forward

        def timed(tokens: torch.Tensor, positions: torch.Tensor, keep: torch.Tensor, *rest: Any) -> Any:
            begin = time.perf_counter()
            output = forward(tokens, positions, keep, *rest)
            self.seconds += time.perf_counter() - begin
            self.steps.append((len(tokens), len(keep)))
            return output

        engine.model.forward = timed  # type: ignore[method-assign, assignment]


def agon(folder: str, items: Sequence[Item], options: dict[str, Any]) -> dict[str, Any]:
    """Our engine, stepped in this thread; requests are submitted when they arrive."""
    limits = Limits(threads=torch.get_num_threads(), adapter_slots=16)
    engine = Engine.from_pretrained(folder, limits, dtype=options.get("dtype", "float32"))
    for name, path in options.get("adapters", {}).items():
        engine.load_adapter(name, path)
    guide = Guide.json_schema(options["schema"]) if "schema" in options else None
    _warm(engine)
    watched = Watched(engine)
    timeline = Timeline(items)
    waiting = sorted(range(len(items)), key=lambda i: items[i].at)
    stepping = 0.0
    while waiting or engine.busy:
        while waiting and items[waiting[0]].at <= timeline.now:
            index = waiting.pop(0)
            engine.submit(_request(str(index), items[index], guide=guide, temperature=options.get("temperature", 0)))
        if not engine.busy:
            time.sleep(max(0.0, items[waiting[0]].at - timeline.now))
            continue
        begin = time.perf_counter()
        events = engine.step()
        stepping += time.perf_counter() - begin
        for event in events:
            if isinstance(event, Tokens):
                for token in event.token_ids:
                    timeline.add(int(event.key), token)
    result = timeline.result(steps=len(watched.steps), outside_model=1 - watched.seconds / stepping)
    return result | {"gemm_seconds": gemm_seconds(folder, watched.steps)} if options.get("ceiling") else result


def chat(folder: str, conversations: Sequence[Sequence[Item]], options: dict[str, Any]) -> dict[str, Any]:
    """Conversations side by side: each turn's prompt is all that was said before it, and comes when the last ended.

    Without `cached` each request has a salt of its own, so that it shares nothing.
    """
    engine = Engine.from_pretrained(folder, Limits(threads=torch.get_num_threads()))
    _warm(engine)
    turns = [item for conversation in conversations for item in conversation]
    timeline = Timeline(turns)
    said: list[list[int]] = [[] for _ in conversations]
    arrivals = [0.0] * len(turns)
    cached = 0

    def ask(conversation: int, turn: int) -> None:
        index = conversation * len(conversations[0]) + turn
        said[conversation] += turns[index].prompt
        arrivals[index] = timeline.now
        salt = "" if options["cached"] else str(index)
        engine.submit(_request(str(index), Item(list(said[conversation]), turns[index].limit), salt=salt))

    for conversation in range(len(conversations)):
        ask(conversation, 0)
    while engine.busy:
        for event in engine.step():
            index = int(event.key)
            conversation, turn = divmod(index, len(conversations[0]))
            if isinstance(event, Tokens):
                for token in event.token_ids:
                    timeline.add(index, token)
            elif isinstance(event, Finished):
                cached += event.cached_tokens
                said[conversation] += timeline.tokens[index]
                if turn + 1 < len(conversations[0]):
                    ask(conversation, turn + 1)
    return timeline.result() | {"arrivals": arrivals, "cached_tokens": cached}


def _request(key: str, item: Item, salt: str = "", guide: Guide | None = None, temperature: float = 0) -> Request:
    params = SamplingParams(temperature=temperature, seed=int(key), max_tokens=item.limit, ignore_eos=True, guide=guide)
    return Request(key, item.prompt, params, adapter=item.adapter, salt=salt)


def _warm(engine: Engine) -> None:
    engine.generate([[1] * 32], SamplingParams(temperature=0, max_tokens=4, ignore_eos=True))


@torch.inference_mode()
def gemm_seconds(folder: str, steps: Sequence[tuple[int, int]]) -> float:
    """Seconds of the linear layers alone, for the steps' numbers of tokens and rows: the floor of any engine that
    computes these steps with this machine's GEMM."""
    model = load_transformers(folder)
    head = model.get_output_embeddings()
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    inputs = {width: torch.randn(512, width) for width in {m.in_features for m in [*linears, head]}}
    begin = time.perf_counter()
    for tokens, rows in steps:
        for linear in linears:
            torch.nn.functional.linear(inputs[linear.in_features][:tokens], linear.weight)
        torch.nn.functional.linear(inputs[head.in_features][:rows], head.weight)
    return time.perf_counter() - begin
