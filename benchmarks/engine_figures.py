"""What a run says: rates, waiting times, equal answers; the table and the aims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from stack import percentile

_TIE = 1e-4  # a logit's margin that the order of sums in 32-bit floats may turn


@dataclass(frozen=True)
class Spread:
    """Percentiles of a time, in seconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(*(percentile(values, share) for share in (0.50, 0.95, 0.99)))


class Figures:
    """One engine on one workload, from what its process wrote."""

    def __init__(self, label: str, raw: dict[str, Any]) -> None:
        self.label = label
        self.raw = raw
        self.wall: float = raw["wall"]
        self.tokens: list[list[int]] = raw["tokens"]
        self.rate = sum(map(len, self.tokens)) / self.wall
        """Output tokens per second."""
        starts = zip(raw["times"], raw["arrivals"], strict=True)
        self.first = Spread.of([times[0] - arrival for times, arrival in starts])
        """From a request's arrival to its first token."""
        gaps = [later - sooner for times in raw["times"] for sooner, later in pairwise(times)]
        self.between = Spread.of(gaps or [0.0])
        """Between two tokens of a request."""

    def same_as(self, reference: "Figures") -> tuple[int, list[float]]:
        """How many answers have the reference's tokens, and for each other one by how much (logits) the reference
        preferred its token where they part."""
        margins: list[float] = []
        for mine, theirs, sure in zip(self.tokens, reference.tokens, reference.raw["margins"], strict=True):
            parted = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b), None)
            if parted is not None:
                margins.append(sure[parted])
        return len(self.tokens) - len(margins), sorted(margins)

    def summary(self) -> dict[str, Any]:
        """What is kept: figures, not every token."""
        extra = {k: v for k, v in self.raw.items() if k not in ("tokens", "times", "arrivals", "margins", "wall")}
        return {
            "wall_seconds": round(self.wall, 3),
            "output_tokens_per_second": round(self.rate, 1),
            "ttft_seconds": vars(self.first),
            "inter_token_seconds": vars(self.between),
            **extra,
        }


def table(title: str, runs: Mapping[str, Figures], baseline: str) -> str:
    """All engines of a workload, each with its ratio to the baseline; if that has margins, with equal answers too."""
    base = runs[baseline]
    head = f"{'':42}{'tok/s':>8}{'ratio':>7}{'TTFT p50':>10}{'p95':>7}{'p99':>7}{'ITL p50':>10}{'p95':>7}{'p99':>7}"
    lines = ["", title, f"{head}{'peak MB':>9}  same tokens", f"{'':42}{'':8}{'':7}{'s':>10}{'':14}{'ms':>10}"]
    for label, run in runs.items():
        first = f"{run.first.p50:10.3f}{run.first.p95:7.2f}{run.first.p99:7.2f}"
        between = "".join(
            f"{value * 1e3:{width}.1f}" for value, width in zip(vars(run.between).values(), (10, 7, 7), strict=True)
        )
        same = ""
        if "margins" in base.raw:
            equal, margins = run.same_as(base)
            same = f"{equal}/{len(run.tokens)}"
            if margins:
                ties = sum(margin < _TIE for margin in margins)
                same += f" (margins {margins[0]:.1e} to {margins[-1]:.1e}, {ties} below {_TIE:g})"
        lines.append(
            f"{label:42}{run.rate:8.0f}{run.rate / base.rate:7.2f}{first}{between}{run.raw['peak_mb']:9.0f}  {same}"
        )
    return "\n".join(lines)


class Aims:
    """What was to be reached, and what was."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def at_least(self, what: str, reached: float, aim: float) -> None:
        self._add(what, reached, aim, "≥", reached >= aim)

    def at_most(self, what: str, reached: float, aim: float) -> None:
        self._add(what, reached, aim, "≤", reached <= aim)

    def _add(self, what: str, reached: float, aim: float, sign: str, met: bool) -> None:
        self.rows.append({"what": what, "reached": round(reached, 4), "aim": f"{sign} {aim:.3g}", "met": met})

    def told(self) -> str:
        lines = ["", f"{'aim':62}{'':>8}{'reached':>9}"]
        lines += [
            f"{'✓' if row['met'] else '✗'} {row['what']:60}{row['aim']:>8}{row['reached']:9.2f}" for row in self.rows
        ]
        return "\n".join(lines)
