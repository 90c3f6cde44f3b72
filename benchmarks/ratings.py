"""Ratings: agon and its peers on the same votes, in one run on one machine: the figures of docs/rank.md.

    python benchmarks/ratings.py [--quick] [--only CASE ...] [--engine NAME ...]

About six minutes on two quiet cores. Figures go to results/ratings.json, the picture to results/ratings.svg.

Each engine runs in a process of its own, one after the other; agon on one BLAS thread, peers as they come. The first
repetition of a peer that compiles is its cold time, the best of the others its warm one. Peers live in a virtual
environment of their own, which `make bench-peers-ratings` makes; those that are not there are left out and named. Real
votes are read from AGON_DATA or ../shared/data, if they are there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ratings_plot import bars
from ratings_votes import Case, exact, real, synthetic
from stack import RESULTS, machine, save

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("AGON_PEERS", HERE.parent / ".tools" / "peers-ratings"))
LONGEST = 400
"""Seconds for one engine and job; who takes longer is told to have."""

BOARD, FIT, REFIT, BOOTSTRAP, STYLE = "board", "fit", "refit", "bootstrap", "style"
WHAT = {
    BOARD: "strings to a sorted board with intervals",
    FIT: "the fit with intervals, from each one's own preprocessed data",
    REFIT: "a refit from kept cells, one pair changed",
    BOOTSTRAP: "strings to a board with 100 bootstrap rounds",
    STYLE: "strings and four features to a board with style controlled and sandwich intervals",
}
WITHOUT_INTERVALS = {"evalica", "choix", "leaderbot", "fastchat", "fastchat 0.2.36"}
"""Engines whose board is a point fit alone; FastChat's intervals are its bootstrap's."""
FASTCHAT, RELEASED = "fastchat", "fastchat 0.2.36"
COMPILED = {"arena-rank"}


@dataclass
class Run:
    """One engine on one job."""

    seconds: list[float]
    peak_mb: float
    ratings: dict[str, float]
    rounds: int = 100

    @property
    def cold(self) -> float:
        return self.seconds[0]

    @property
    def best(self) -> float:
        """The best repetition, the first left out where there are more: that one may have compiled."""
        return min(self.seconds[1:] or self.seconds)


@dataclass
class Bench:
    """Runs engines and keeps what they said."""

    engines: set[str] | None
    runs: dict[tuple[str, str, str], Run] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)

    def measure(self, case: Case, job: str, engine: str, *, times: int = 3, rounds: int = 100) -> None:
        """Run an engine in its own process; what can't be measured is said and left out."""
        if self.engines is not None and engine not in self.engines | {"agon"}:
            return
        python = sys.executable if engine == "agon" else str(PEERS / "bin" / "python")
        if not Path(python).exists() or (engine == FASTCHAT and not (PEERS / "rating_systems.py").exists()):
            self.absent.add(engine)
            return
        threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        kept = {name: value for name, value in os.environ.items() if name not in threads}
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "answer.json"
            asked = {
                "engine": engine,
                "job": job,
                "file": str(case.file),
                "times": times,
                "rounds": rounds,
                "longest": 120,
            }
            command = [
                python,
                str(HERE / "ratings_engines.py"),
                json.dumps({**asked, "fastchat": str(PEERS), "answer": str(answer)}),
            ]
            env = {**os.environ, **threads} if engine == "agon" else {**kept, "PYTHONPATH": ""}
            try:
                done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LONGEST)
            except subprocess.TimeoutExpired:
                print(f"  {case.name:14} {job:10} {engine:17} longer than {LONGEST} s", flush=True)
                return
            if done.returncode != 0 or not answer.exists():
                why = (done.stderr.strip().splitlines() or [f"killed: {done.returncode}"])[-1]
                print(f"  {case.name:14} {job:10} {engine:17} failed: {why[:200]}", flush=True)
                return
            told = json.loads(answer.read_text())
        run = Run(told["seconds"], told["peak_mb"], told["ratings"], rounds)
        self.runs[case.name, job, engine] = run
        first = f" (first {run.cold:.3f} s)" if len(run.seconds) > 1 else ""
        print(f"  {case.name:14} {job:10} {engine:17} {run.best:8.4f} s, {run.peak_mb:5.0f} MB{first}", flush=True)

    def ratio(self, case: str, job: str, peer: str, *, cold: bool = False) -> float | None:
        """How many times longer the peer takes."""
        ours, theirs = self.runs.get((case, job, "agon")), self.runs.get((case, job, peer))
        if ours is None or theirs is None:
            return None
        if not cold and peer in COMPILED and len(theirs.seconds) < 2:
            return None  # its only repetition compiled
        return (theirs.cold if cold else theirs.best) * 100 / theirs.rounds / ours.best


def worst_error(ratings: dict[str, float], optimum: dict[str, float]) -> float:
    """The largest distance from the optimum in rating points, both with mean 0."""
    mean = sum(ratings.values()) / len(ratings)
    return max(abs(ratings[model] - mean - best) for model, best in optimum.items())


def aims(bench: Bench, big: str, wide: str) -> list[dict[str, Any]]:
    """What was to be reached, on the case of a million votes with 130 models, and with 1,000."""
    rows = [
        _at_least(f"{big}: board with intervals, over arena-rank warm", bench.ratio(big, BOARD, "arena-rank"), 23),
        _at_least(f"{big}: the same, over arena-rank cold", bench.ratio(big, BOARD, "arena-rank", cold=True), None),
        _at_least(f"{big}: fit with intervals, over arena-rank warm", bench.ratio(big, FIT, "arena-rank"), 100),
        _at_least(f"{big}: bootstrap of 100, over {FASTCHAT}", bench.ratio(big, BOOTSTRAP, FASTCHAT), 59),
        _at_least(f"{big}: bootstrap of 100, over {RELEASED}", bench.ratio(big, BOOTSTRAP, RELEASED), 59),
        _at_least(f"{big}: style control, over arena-rank warm", bench.ratio(big, STYLE, "arena-rank"), 6),
        _at_least(f"{big}: style control, the further aim", bench.ratio(big, STYLE, "arena-rank"), 15),
        _at_least(f"{wide}: board with intervals, over arena-rank warm", bench.ratio(wide, BOARD, "arena-rank"), 10),
    ]
    refit, ours = bench.runs.get((big, REFIT, "agon")), bench.runs.get((big, BOARD, "agon"))
    theirs = bench.runs.get((big, BOARD, "arena-rank"))
    rows.append(_at_most(f"{big}: refit from kept cells, ms", refit.best * 1e3 if refit else None, 5))
    share = ours.peak_mb / theirs.peak_mb if ours and theirs else None
    rows.append(_at_most(f"{big}: peak memory over arena-rank's", share, 0.6))
    return rows


def _at_least(what: str, reached: float | None, aim: float | None) -> dict[str, Any]:
    met = None if aim is None or reached is None else reached >= aim
    return {"what": what, "aim": None if aim is None else f"≥ {aim:g}", "reached": reached, "met": met}


def _at_most(what: str, reached: float | None, aim: float) -> dict[str, Any]:
    met = None if reached is None else reached <= aim
    return {"what": what, "aim": f"≤ {aim:g}", "reached": reached, "met": met}


def told(rows: Iterable[dict[str, Any]]) -> str:
    """The aims as a table."""
    lines = ["", f"  {'aim':58}{'':>8}{'reached':>9}"]
    for row in rows:
        sign = {True: "✓", False: "✗", None: " "}[row["met"]]
        reached = "not run" if row["reached"] is None else f"{row['reached']:.3g}"
        lines.append(f"{sign} {row['what']:58}{row['aim'] or '':>8}{reached:>9}")
    return "\n".join(lines)


def run_all(bench: Bench, cases: dict[str, Case], big: str, wide: str, *, quick: bool) -> dict[str, Any]:
    """Every measurement; the accuracy of each engine on each case."""
    for name, case in cases.items():
        huge, first = case.models > 500, name == big and not quick
        bench.measure(case, BOARD, "agon", times=4 if huge else 8)
        bench.measure(case, BOARD, "arena-rank", times=3 if first else 2)
        bench.measure(case, BOARD, FASTCHAT, times=2 if first else 1)
        bench.measure(case, BOARD, "evalica", times=2 if first else 1)
        bench.measure(case, BOARD, "choix", times=2)
        if not huge and name != big:
            bench.measure(case, BOARD, "leaderbot", times=1)
        if name == big:
            for job in (FIT, REFIT, BOOTSTRAP, STYLE):
                bench.measure(case, job, "agon", times=20 if job in (FIT, REFIT) else 3)
            bench.measure(case, FIT, "arena-rank", times=2 if quick else 3)
            bench.measure(case, STYLE, "arena-rank", times=2)
            bench.measure(case, BOOTSTRAP, FASTCHAT, times=1, rounds=20 if quick else 100)
            # It draws each round anew, one after the other: a hundred take a hundred times as long as one.
            bench.measure(case, BOOTSTRAP, RELEASED, times=1, rounds=3)
    accuracy: dict[str, dict[str, float]] = {}
    for name, case in cases.items():
        optimum, slope = exact(case.file)
        errors = {
            engine: worst_error(run.ratings, optimum)
            for (of, job, engine), run in bench.runs.items()
            if of == name and job == BOARD
        }
        accuracy[name] = {"slope_of_the_optimum_votes": slope, **errors}
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description="agon's ratings and its peers on the same votes.")
    parser.add_argument("--quick", action="store_true", help="fewer votes and repetitions: about a minute")
    parser.add_argument("--only", action="append", help="a case by its name, such as 1e6/130; may be repeated")
    parser.add_argument("--engine", action="append", help="a peer by its name; may be repeated")
    options = parser.parse_args()
    began = time.monotonic()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="agon-bench-") as folder:
        at = Path(folder)
        sizes = (
            [(100_000, 130), (100_000, 400)] if options.quick else [(100_000, 130), (1_000_000, 130), (1_000_000, 1000)]
        )
        made = [synthetic(at, *size) for size in sizes]
        big, wide = made[-2].name, made[-1].name
        cases = {case.name: case for case in [*made, *real(at)] if not options.only or case.name in options.only}
        bench = Bench(set(options.engine) if options.engine else None)
        accuracy = run_all(bench, cases, big, wide, quick=options.quick)
        sizes_told = {name: {"votes": case.votes, "models": case.models} for name, case in cases.items()}
    rows = aims(bench, big, wide)
    print(told(rows))
    print("\n  largest error against the exact optimum, in rating points")
    for name, errors in accuracy.items():
        print(f"  {name:14}" + "  ".join(f"{engine} {error:.2g}" for engine, error in list(errors.items())[1:]))
    print(f"\n  all of it took {time.monotonic() - began:.0f} s")
    for engine in sorted(bench.absent):
        print(f"  {engine} is not here: `make bench-peers-ratings` fetches it")
    figures = {
        "cases": sizes_told,
        "what": WHAT,
        "without_intervals": sorted(WITHOUT_INTERVALS),
        "runs": [
            {
                "case": case,
                "job": job,
                "engine": engine,
                "seconds": run.seconds,
                "peak_mb": run.peak_mb,
                "rounds": run.rounds,
            }
            for (case, job, engine), run in bench.runs.items()
        ],
        "largest_error_points": accuracy,
        "aims": rows,
    }
    if options.quick or options.only or options.engine:
        return  # a part of the figures does not replace all of them
    save("ratings", figures)
    (RESULTS / "ratings.svg").write_text(bars(figures, big), encoding="utf-8")


if __name__ == "__main__":
    main()
