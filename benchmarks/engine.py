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
from pathlib import Path
from typing import Any

from engine_figures import Aims, Figures, table
from engine_peers import available
from engine_workloads import Item, arriving, conversations, make_model, mixed
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

    def run(
        self,
        workload: str,
        label: str,
        shape: str,
        engine: str,
        items: Sequence[Any],
        *,
        threads: int = 1,
        **options: Any,
    ) -> Figures | None:
        """One engine on these requests; None when it is not here. Raises `SystemExit` when it fails."""
        if not available(engine):
            self.absent.add(engine)
            return None
        job = {
            "engine": engine,
            "folder": str(make_model(shape, self.models / shape)),
            "threads": threads,
            "items": [item.json() if isinstance(item, Item) else [one.json() for one in item] for item in items],
            "options": options,
        }
        result = self.models / "result.json"
        threads_only = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        done = subprocess.run(
            [sys.executable, str(RUNNERS), str(result)], input=json.dumps(job), text=True, capture_output=True,
            env={**os.environ, **threads_only, "HF_HUB_OFFLINE": "1"}, timeout=LONGEST,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{label} failed on {workload}:\n{done.stderr[-3000:]}")
        figures = Figures(label, json.loads(result.read_text()))
        self.figures.setdefault(workload, {})[label] = figures
        print(f"{workload}: {label}: {figures.rate:.0f} tokens/s", file=sys.stderr, flush=True)
        return figures

    def show(self, workload: str, baseline: str, title: str) -> None:
        print(table(title, self.figures[workload], baseline), flush=True)


def tiny(bench: Bench) -> None:
    """64 mixed requests at once, 6 M parameters: batching, attention and the step's own cost."""
    items = mixed("tiny", 8 if bench.quick else 64)
    ours = bench.run("tiny", "agon", "tiny", "agon", items, ceiling=True)
    two = None if bench.quick else bench.run("tiny", "agon, 2 threads", "tiny", "agon", items, threads=2)
    one = bench.run("tiny", "transformers one by one", "tiny", "one_by_one", items)
    assert ours is not None
    assert one is not None
    for size in (64, 16):
        bench.run("tiny", f"transformers static {size}", "tiny", "static_batch", items, batch=size)
    continuous = best(
        bench.run("tiny", f"transformers CB, {name}", "tiny", "continuous_batching", items, **options)
        for name, options in list(CONTINUOUS.items())[: 1 if bench.quick else None]
    )
    ctranslate = [
        (
            kind,
            bench.run("tiny", f"ctranslate2 {kind}, batch {size}", "tiny", "ctranslate2", items, type=kind, batch=size),
        )
        for kind in ("float32", "int8")
        for size in (16, 64)
    ]
    llama = [
        (kind, bench.run("tiny", f"llama.cpp {kind}", "tiny", "llama_cpp", items, type=kind))
        for kind in ("f32", "q8_0")
    ]
    bench.show("tiny", one.label, f"tiny: {len(items)} mixed requests at once, one thread, fp32 unless said")
    aims, rate = bench.aims, ours.rate
    aims.at_least("tiny: output tokens/s over one by one", rate / one.rate, 7.0)
    aims.at_least("tiny: over transformers continuous batching at its best", rate / continuous.rate, 4.5)
    for name, peers, aim in (("llama.cpp f32", llama, 1.4), ("ctranslate2 float32", ctranslate, 1.7)):
        there = [peer for kind, peer in peers if kind in name and peer]
        if there:
            aims.at_least(f"tiny: over {name} at its best", rate / best(there).rate, aim)
    aims.at_least("tiny: share of the GEMM ceiling", ours.raw["gemm_seconds"] / ours.wall, 0.45)
    aims.at_most("tiny: TTFT p50 over continuous batching's", ours.first.p50 / continuous.first.p50, 0.25)
    aims.at_most("tiny: share of a step outside the model", ours.raw["outside_model"], 0.10)
    if two:
        aims.at_least("tiny: two threads over one", two.rate / rate, 1.4)


def m100(bench: Bench) -> None:
    """16 of them on 100 M parameters: the linear layers decide."""
    items = mixed("tiny", 64)[: 2 if bench.quick else 16]
    ours = bench.run("m100", "agon", "m100", "agon", items, ceiling=True)
    one = bench.run("m100", "transformers one by one", "m100", "one_by_one", items)
    assert ours is not None
    assert one is not None
    bench.run("m100", "transformers static 16", "m100", "static_batch", items, batch=16)
    bench.run("m100", "transformers CB, 64 blocks", "m100", "continuous_batching", items, num_blocks=64)
    for kind in ("float32", "int8"):
        bench.run("m100", f"ctranslate2 {kind}, batch 16", "m100", "ctranslate2", items, type=kind, batch=16)
    for kind in ("f32", "q8_0"):
        bench.run("m100", f"llama.cpp {kind}", "m100", "llama_cpp", items, type=kind)
    bench.show("m100", one.label, f"m100: {len(items)} mixed requests at once, one thread, fp32 unless said")
    bench.aims.at_least("m100: over one by one, fp32", ours.rate / one.rate, 3.3)


def arrivals(bench: Bench) -> None:
    """The same requests as they come to a server: a Poisson process at shares of what the engine can do."""
    items = mixed("tiny", 8 if bench.quick else 64)
    full = bench.run("arrivals", "all at once", "tiny", "agon", items)
    assert full is not None
    capacity = len(items) / full.wall
    for share in (0.9,) if bench.quick else (0.3, 0.6, 0.9):
        bench.run("arrivals", f"{share:.0%} of capacity", "tiny", "agon", arriving(items, share * capacity))
    if not bench.quick:
        options = next(iter(CONTINUOUS.values()))
        slow = arriving(items, 0.3 * capacity)
        bench.run("arrivals", "transformers CB at the rate of 30%", "tiny", "continuous_batching", slow, **options)
    bench.show("arrivals", full.label, f"arrivals: capacity {capacity:.1f} requests/s")


def chat(bench: Bench) -> None:
    """Conversations with one system prompt and growing turns: what the prefix cache saves."""
    items = conversations("tiny", 2 if bench.quick else 8)
    without = bench.run("chat", "without prefix cache", "tiny", "chat", items, cached=False)
    cached = bench.run("chat", "prefix cache", "tiny", "chat", items, cached=True)
    assert without is not None
    assert cached is not None
    bench.show("chat", without.label, f"chat: {len(items)} conversations of {len(items[0])} turns, 512 shared tokens")
    bench.aims.at_most("chat: TTFT p50 with the prefix cache over without", cached.first.p50 / without.first.p50, 1 / 3)


def best(candidates: Iterable[Figures | None]) -> Figures:
    """The one with the most tokens per second."""
    return max((figures for figures in candidates if figures), key=lambda figures: figures.rate)


WORKLOADS: dict[str, Callable[[Bench], None]] = {"tiny": tiny, "m100": m100, "arrivals": arrivals}


def main() -> None:
    parser = argparse.ArgumentParser(description="The engine and its peers on the same requests.")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="one of them (again for more)")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few requests, nothing is saved")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    print(machine(), flush=True)
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
        save("engine_aims", {"aims": bench.aims.rows})


if __name__ == "__main__":
    main()
