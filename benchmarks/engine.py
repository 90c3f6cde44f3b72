"""The engine and its peers on the same requests, in one run on one machine: the figures of docs/engine.md.

    python benchmarks/engine.py [--workload tiny --workload m100 ...] [--quick] [--device cuda]

Each engine runs in a process of its own, one after the other, on one thread. Peers that are not here are left out and
named; `make bench-peers` fetches them. At the end stand the aims, and which of them this run met.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine_available import available
from engine_figures import Aims, Figures, table
from engine_workloads import SCHEMA, Item, arriving, conversations, make_adapters, mixed
from stack import machine, save

RUNNERS = Path(__file__).with_name("engine_runners.py")
LONGEST = 1800  # seconds that one engine may take for one workload

CONTINUOUS: dict[str, dict[str, Any]] = {
    "pages of 32, chunks of 512": {"page_size": 32, "num_blocks": 1024, "max_batch_tokens": 512},
    "defaults, 128 blocks": {"num_blocks": 128},
    "prefill first": {"page_size": 32, "num_blocks": 1024, "max_batch_tokens": 1024, "scheduler_type": "prefill_first"},
}
"""Settings of transformers' continuous batching that are tried; the best counts."""


class Bench:
    """Runs jobs and keeps their figures, by workload and label."""

    def __init__(self, models: Path, quick: bool) -> None:
        self.models = models
        self.quick = quick
        self.aims = Aims()
        self.figures: dict[str, dict[str, Figures]] = {}
        self.absent: set[str] = set()
        self.notes: dict[str, Any] = {}

    def mixed(self) -> list[Item]:
        """64 mixed requests, or a few short ones."""
        return [replace(item, limit=16) for item in mixed("tiny", 3)] if self.quick else mixed("tiny", 64)

    def job(
        self, engine: str, shape: str, items: Sequence[Item | Sequence[Item]], threads: int = 1, **options: Any
    ) -> dict[str, Any]:
        """What an engine's process says about these requests. Raises `SystemExit` when it fails."""
        job = {
            "engine": engine,
            "shape": shape,
            "folder": str(self.models / shape),
            "threads": threads,
            "items": [item.json() if isinstance(item, Item) else [one.json() for one in item] for item in items],
            "options": options,
        }
        result = self.models / "result.json"
        only = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        done = subprocess.run(
            [sys.executable, str(RUNNERS), str(result)], input=json.dumps(job), text=True, capture_output=True,
            env={**os.environ, **only, "HF_HUB_OFFLINE": "1"}, timeout=LONGEST,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{engine} {options} failed:\n{done.stderr[-3000:]}")
        return dict(json.loads(result.read_text()))

    def run(
        self, workload: str, label: str, engine: str, shape: str, items: Sequence[Any], threads: int = 1, **options: Any
    ) -> Figures:
        """One engine's figures on these requests, kept under its label."""
        figures = Figures(label, self.job(engine, shape, items, threads, **options))
        self.figures.setdefault(workload, {})[label] = figures
        print(f"{workload}: {label}: {figures.rate:.0f} tokens/s", file=sys.stderr, flush=True)
        return figures

    def peer(self, workload: str, label: str, engine: str, *rest: Any, **options: Any) -> list[Figures]:
        """The same of an engine that may not be here: then it is none."""
        if available(engine):
            return [self.run(workload, label, engine, *rest, **options)]
        self.absent.add(engine)
        return []

    def show(self, workload: str, baseline: str, title: str) -> None:
        print(table(title, self.figures[workload], baseline), flush=True)


def tiny(bench: Bench) -> None:
    """64 mixed requests at once, 6 M parameters: batching, attention and the step's own cost."""
    items = bench.mixed()
    ours = bench.run("tiny", "agon", "agon", "tiny", items, ceiling=True)
    two = bench.run("tiny", "agon, 2 threads", "agon", "tiny", items, 2)
    one = bench.run("tiny", "transformers one by one", "one_by_one", "tiny", items)
    for size in (64, 16):
        bench.run("tiny", f"transformers static {size}", "static_batch", "tiny", items, batch=size)
    continuous = best(
        bench.run("tiny", f"transformers CB, {name}", "continuous_batching", "tiny", items, **options)
        for name, options in list(CONTINUOUS.items())[: 1 if bench.quick else None]
    )
    ctranslate = {
        kind: [
            figures
            for size in (16, 64)
            for figures in bench.peer(
                "tiny", f"ctranslate2 {kind}, batch {size}", "ctranslate2", "tiny", items, type=kind, batch=size
            )
        ]
        for kind in ("float32", "int8")
    }
    llama = {
        kind: bench.peer("tiny", f"llama.cpp {kind}", "llama_cpp", "tiny", items, type=kind) for kind in ("f32", "q8_0")
    }
    bench.show("tiny", one.label, f"tiny: {len(items)} mixed requests at once, one thread, fp32 unless said")
    aims, rate = bench.aims, ours.rate
    aims.at_least("tiny: output tokens/s over one by one", rate / one.rate, 7.0)
    aims.at_least("tiny: over transformers continuous batching at its best", rate / continuous.rate, 4.5)
    if llama["f32"]:
        aims.at_least("tiny: over llama.cpp f32", rate / best(llama["f32"]).rate, 1.4)
    if ctranslate["float32"]:
        aims.at_least("tiny: over ctranslate2 float32 at its best", rate / best(ctranslate["float32"]).rate, 1.7)
    aims.at_least("tiny: share of the GEMM ceiling", ours.raw["gemm_seconds"] / ours.wall, 0.45)
    aims.at_most("tiny: TTFT p50 over continuous batching's", ours.first.p50 / continuous.first.p50, 0.25)
    aims.at_most("tiny: share of a step outside the model", ours.raw["outside_model"], 0.10)
    aims.at_least("tiny: two threads over one", two.rate / rate, 1.4)


def m100(bench: Bench) -> None:
    """16 of them on 100 M parameters: the linear layers decide."""
    items = mixed("tiny", 64)[: 2 if bench.quick else 16]
    ours = bench.run("m100", "agon", "agon", "m100", items, ceiling=True)
    rounded = bench.run("m100", "agon int8", "agon", "m100", items, dtype="int8")
    one = bench.run("m100", "transformers one by one", "one_by_one", "m100", items)
    bench.run("m100", "transformers static 16", "static_batch", "m100", items, batch=16)
    bench.run("m100", "transformers CB, 64 blocks", "continuous_batching", "m100", items, num_blocks=64)
    for kind in ("float32", "int8"):
        bench.peer("m100", f"ctranslate2 {kind}, batch 16", "ctranslate2", "m100", items, type=kind, batch=16)
    for kind in ("f32", "q8_0"):
        bench.peer("m100", f"llama.cpp {kind}", "llama_cpp", "m100", items, type=kind)
    bench.show("m100", one.label, f"m100: {len(items)} mixed requests at once, one thread, fp32 unless said")
    told = bench.job("quality", "m100", items[:4], questions=2 if bench.quick else 20)
    floats, ints, logits = told["float32"], told["int8"], told["logits"]
    print(
        f"int8: {told['model']} answers {ints['skill_accuracy']:.1%} of {told['questions']} questions right "
        f"(fp32 {floats['skill_accuracy']:.1%}), perplexity {ints['perplexity']:.4f} (fp32 "
        f"{floats['perplexity']:.4f}); m100's logits are off by {logits['relative_error']:.2%}, the first choice is "
        f"the same in {logits['same_first_choice']:.1%}"
    )
    bench.notes["int8_quality"] = told
    bench.aims.at_least("m100: over one by one, fp32", ours.rate / one.rate, 3.3)
    bench.aims.at_least("m100: over one by one, int8", rounded.rate / one.rate, 7.0)


def arrivals(bench: Bench) -> None:
    """The same requests as they come to a server: a Poisson process at shares of what the engine can do."""
    items = bench.mixed()
    full = bench.run("arrivals", "all at once", "agon", "tiny", items)
    capacity = len(items) / full.wall
    for share in (0.9,) if bench.quick else (0.3, 0.6, 0.9):
        bench.run("arrivals", f"{share:.0%} of capacity", "agon", "tiny", arriving(items, share * capacity))
    if not bench.quick:
        options = next(iter(CONTINUOUS.values()))
        slow = arriving(items, 0.3 * capacity)
        bench.run("arrivals", "transformers CB at the rate of 30%", "continuous_batching", "tiny", slow, **options)
    bench.show("arrivals", full.label, f"arrivals: capacity {capacity:.1f} requests/s")


def chat(bench: Bench) -> None:
    """Conversations with one system prompt and growing turns: what the prefix cache saves."""
    items = conversations("tiny", 2 if bench.quick else 8)
    without = bench.run("chat", "without prefix cache", "chat", "tiny", items, cached=False)
    cached = bench.run("chat", "prefix cache", "chat", "tiny", items, cached=True)
    bench.show("chat", without.label, f"chat: {len(items)} conversations of {len(items[0])} turns, 512 shared tokens")
    bench.aims.at_most("chat: TTFT p50 with the prefix cache over without", cached.first.p50 / without.first.p50, 1 / 3)


def adapters(bench: Bench) -> None:
    """The requests of `tiny`, each under one of 16 adapters (rank 8, all linear layers), beside none."""
    items = bench.mixed()
    made = make_adapters("tiny", bench.models / "adapters", 16)
    names = list(made)

    def under(count: int) -> list[Item]:
        return [replace(item, adapter=names[i % count]) for i, item in enumerate(items)]

    none = bench.run("adapters", "none", "agon", "tiny", items)
    bench.run("adapters", "16 loaded, none asked for", "agon", "tiny", items, adapters=made)
    bench.run("adapters", "one for all", "agon", "tiny", under(1), adapters=made)
    many = bench.run("adapters", "16 different", "agon", "tiny", under(16), adapters=made)
    bench.show("adapters", none.label, f"adapters: {len(items)} mixed requests at once")
    bench.aims.at_least("adapters: 16 different over none", many.rate / none.rate, 0.6)


def guided(bench: Bench) -> None:
    """The requests of `tiny`, drawn at temperature 1, as free text and each under a JSON schema."""
    items = bench.mixed()
    free = bench.run("guided", "free text", "agon", "tiny", items, temperature=1)
    schema = bench.run("guided", "JSON schema", "agon", "tiny", items, temperature=1, schema=SCHEMA)
    bench.show("guided", free.label, f"guided: {len(items)} mixed requests at once, temperature 1")
    bench.aims.at_least("guided: JSON schema over free text", schema.rate / free.rate, 0.85)


def best(candidates: Iterable[Figures]) -> Figures:
    """The one with the most tokens per second."""
    return max(candidates, key=lambda figures: figures.rate)


WORKLOADS: dict[str, Callable[[Bench], None]] = {
    "tiny": tiny,
    "m100": m100,
    "arrivals": arrivals,
    "chat": chat,
    "adapters": adapters,
    "guided": guided,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="The engine and its peers on the same requests.")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="one of them (again for more)")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few requests, nothing is saved")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    print(machine(), flush=True)
    if options.device == "cuda":
        from engine_cuda import cuda  # torch is imported where it computes

        cuda(options.quick)
        return
    with tempfile.TemporaryDirectory(prefix="agon-bench-") as folder:
        bench = Bench(Path(folder), options.quick)
        for name in options.workload or WORKLOADS:
            WORKLOADS[name](bench)
    for peer in sorted(bench.absent):
        print(f"left out: {peer} is not here (make bench-peers)")
    print(bench.aims.told())
    if not options.quick:
        for workload, figures in bench.figures.items():
            save(f"engine_{workload}", {"engines": {label: one.summary() for label, one in figures.items()}})
        save("engine_aims", {"aims": bench.aims.rows, **bench.notes})


if __name__ == "__main__":
    main()
