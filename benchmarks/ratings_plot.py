"""The picture of a run: how long each engine takes, on a scale of powers of ten.

    python benchmarks/ratings_plot.py [CASE]

draws results/ratings.svg again from results/ratings.json; 1e6/130 is the case unless another is named.
"""

import json
import sys
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

_STYLE = """
.agon{--ink:#1c2430;--soft:#5d6b7e;--line:#d9dfe7;--ours:#1f6feb;--theirs:#aab4c2;--paper:#fff;
font:13px/1.2 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
@media (prefers-color-scheme:dark){.agon{--ink:#e6ebf2;--soft:#97a3b4;--line:#2f3947;--ours:#6cb0ff;--theirs:#55617240;
--paper:#12171e}}
.agon text{fill:var(--ink)}.agon .soft{fill:var(--soft)}.agon .grid{stroke:var(--line)}.agon .paper{fill:var(--paper)}
.agon .agon-bar{fill:var(--ours)}.agon .bar{fill:var(--theirs)}
"""
_LEFT, _WIDTH, _ROW = 230, 560, 26
TITLES = {
    "board": "Votes as strings to a board with intervals",
    "fit": "The fit with intervals, data preprocessed",
    "bootstrap": "Board with 100 bootstrap rounds",
    "style": "Board with style controlled",
}


def bars(figures: dict[str, Any], case: str) -> str:
    """One group of bars for each job of a case; a peer's is its best (warm) time."""
    groups: list[tuple[str, str, list[tuple[str, float]]]] = []
    for job, title in TITLES.items():
        runs = [run for run in figures["runs"] if run["case"] == case and run["job"] == job]
        times = [(run["engine"], min(run["seconds"][1:] or run["seconds"]) * 100 / run["rounds"]) for run in runs]
        if times:
            groups.append((job, title, sorted(times, key=lambda pair: pair[1])))
    values = [seconds for *_, times in groups for _, seconds in times] or [1.0]
    low, high = floor(log10(min(values))), ceil(log10(max(values)))

    def x(seconds: float) -> float:
        return _LEFT + _WIDTH * (log10(seconds) - low) / max(high - low, 1)

    size = figures["cases"][case]
    title = f"Seconds for {size['votes']:,} votes on {size['models']:,} models, less is better"
    height = 70 + sum(34 + _ROW * len(times) for *_, times in groups)
    parts = [f'<text x="16" y="26" font-size="16" font-weight="600">{escape(title)}</text>']
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.0f}" x2="{at:.0f}" y1="58" y2="{height - 8}"/>')
        parts.append(f'<text class="soft" text-anchor="middle" x="{at:.0f}" y="50">{10.0**power:g} s</text>')
    y = 66.0
    for job, heading, times in groups:
        parts.append(f'<text x="16" y="{y + 16:.0f}" font-weight="600">{escape(heading)}</text>')
        y += 28
        ours = dict(times).get("agon")
        for engine, seconds in times:
            without = ", no intervals" if job == "board" and engine in figures["without_intervals"] else ""
            ratio = f", {seconds / ours:.0f}×" if ours and engine != "agon" else ""
            kind = "agon-bar" if engine == "agon" else "bar"
            end = max(x(seconds), _LEFT + 3)
            parts.append(
                f'<text text-anchor="end" x="{_LEFT - 8}" y="{y + 14:.0f}">{escape(engine + without)}</text>'
                f'<rect class="{kind}" x="{_LEFT}" y="{y:.0f}" width="{end - _LEFT:.1f}" height="18" rx="3"/>'
                f'<text x="{end + 6:.0f}" y="{y + 14:.0f}">{seconds:.3g} s{ratio}</text>'
            )
            y += _ROW
        y += 6
    width = _LEFT + _WIDTH + 140
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="agon" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<rect class="paper" width="100%" height="100%"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    figures = json.loads((RESULTS / "ratings.json").read_text(encoding="utf-8"))
    case = sys.argv[1] if len(sys.argv) > 1 else "1e6/130"
    (RESULTS / "ratings.svg").write_text(bars(figures, case), encoding="utf-8")
