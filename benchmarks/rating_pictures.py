"""The pictures of `docs/ratings.md`, from the real votes in `tests/data/votes` and the studies' results.

python benchmarks/rating_pictures.py
"""

import csv
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from agon.ratings import (
    STYLE,
    Covariates,
    Fit,
    PairCells,
    Votes,
    clustered,
    codes,
    fit,
    fit_style,
    rank_models,
    ratings,
)
from agon.ratings.pictures import ladder

ROOT = Path(__file__).parents[1]
VOTES = ROOT / "tests" / "data" / "votes"
DOCS = ROOT / "docs" / "pictures"
STUDIES = ROOT / "benchmarks" / "results" / "rating_studies.json"
RULES = ("board, all votes", "adjusted", "all ranks, together")
COLOURS = ("#1f6feb", "#d1570c", "#2e8b57")


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with a bar."""

    value: float
    lower: float
    upper: float


def dots(
    title: str,
    series: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Mark]]],
    ends: tuple[float, float],
    step: float,
    band: tuple[float, float] | None = None,
) -> str:
    """Rows of labelled points with bars, one colour for each series, over a common axis from one end to the other."""
    left, plot, top, height = 300, 520, 66, 12 * len(series) + 10
    low, high = ends
    bottom = top + height * len(rows)

    def x(value: float) -> float:
        return left + plot * (min(max(value, low), high) - low) / (high - low)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + plot + 30} {bottom + 30}" '
        f'font-family="system-ui,sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="12" y="22" font-size="15">{escape(title)}</text>',
    ]
    at = 12.0
    for name, colour in zip(series, COLOURS, strict=False):
        out.append(
            f'<circle cx="{at + 5}" cy="42" r="4" fill="{colour}"/><text x="{at + 14}" y="46">{escape(name)}</text>'
        )
        at += 40 + 7 * len(name)
    if band is not None:
        size = f'width="{x(band[1]) - x(band[0]):.1f}" height="{bottom - top}"'
        out.append(f'<rect x="{x(band[0]):.1f}" y="{top}" {size} fill="#2e8b57" opacity=".15"/>')
    out += [
        f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top}" y2="{bottom}" stroke="#d9dfe7"/>'
        f'<text x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in np.arange(low, high + step / 2, step)
    ]
    for k, (label, marks) in enumerate(rows):
        y = top + height * k + 14
        out.append(f'<text x="{left - 12}" y="{y + height / 2 - 8}" text-anchor="end">{escape(label)}</text>')
        for mark, colour in zip(marks, COLOURS, strict=False):
            place = f'x1="{x(mark.lower):.1f}" x2="{x(mark.upper):.1f}" y1="{y}" y2="{y}"'
            out.append(f'<line {place} stroke="{colour}" stroke-width="4" opacity=".35"/>')
            out.append(f'<circle cx="{x(mark.value):.1f}" cy="{y}" r="3.5" fill="{colour}"/>')
            y += 12
    return "\n".join([*out, "</svg>"]) + "\n"


def chatbot_arena() -> PairCells:
    data = json.loads((VOTES / "chatbotarena_20240814.json").read_text())
    names = data["models"]
    return PairCells.of((names[i], names[j], counts) for (i, j), counts in zip(data["X"], data["Y"], strict=True))


def llmfao() -> tuple[Votes, list[dict[str, str]]]:
    with gzip.open(VOTES / "llmfao.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    word = {"left": "a", "right": "b", "tie": "tie"}
    left, right = [row["left"] for row in rows], [row["right"] for row in rows]
    return Votes.encode(left, right, [word[row["winner"]] for row in rows]), rows


def style(rows: Sequence[dict[str, str]]) -> Covariates:
    with (VOTES / "llmfao_style.csv").open(newline="") as file:
        counts = {(row["prompt"], row["model"]): [float(row[name]) for name in STYLE] for row in csv.DictReader(file)}
    left, right = (np.array([counts[row["prompt"], row[side]] for row in rows]) for side in ("left", "right"))
    return Covariates.of_sides(STYLE, left, right)


def beside(fits: Sequence[Fit], most: int) -> list[tuple[str, Sequence[Mark]]]:
    """The best models of the first fit, in each of the fits."""
    told = [ratings(found) for found in fits]
    order = np.argsort(-fits[0].theta)[:most]
    return [
        (fits[0].models[i], [Mark(float(r.rating[i]), float(r.lower[i]), float(r.upper[i])) for r in told])
        for i in order
    ]


def coverage() -> str:
    studies = json.loads(STUDIES.read_text())
    methods = ("as if independent", "CR1", "CR3")
    rows = []
    for name, study in studies.items():
        found = study["coverage"]
        keys = methods if "CR3" in found else [key for key in RULES if key in found]
        told = [(found[key]["coverage"], 2 * found[key]["monte_carlo_error"]) for key in keys]
        rows.append((name, [Mark(share, share - error, share + error) for share, error in told]))
    return dots(
        "How often a 95 % interval holds the truth (per cent; bars: two Monte-Carlo errors)",
        ("as if votes were independent, or the board's rule", "by voter, CR1", "by voter, CR3"),
        rows,
        (76, 100),
        2,
        (94, 96),
    )


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    arena = rank_models(chatbot_arena())
    (DOCS / "ladder.svg").write_text(ladder(arena.rows[:20], "Chatbot Arena, votes to 14 August 2024: the first 20"))

    votes, rows = llmfao()
    plain = fit(votes.cells())
    worker, prompt = (codes([row[name] for row in rows]) for name in ("worker", "prompt"))
    by_worker, by_both = clustered(plain, votes, worker), clustered(plain, votes, worker, prompt)
    (DOCS / "clusters.svg").write_text(
        dots(
            "The same 8,931 votes, taken as independent, by worker, by worker and prompt",
            ("independent", "by worker", "by worker and prompt"),
            beside([plain, by_worker, by_both], 15),
            (850, 1450),
            100,
        )
    )
    controlled = fit_style(votes, style(rows)).fit
    (DOCS / "style.svg").write_text(
        dots(
            "Ratings as voted, and with the answers' style held equal",
            ("as voted", "style held equal"),
            beside([plain, controlled], 15),
            (950, 1350),
            50,
        )
    )
    if STUDIES.exists():
        (DOCS / "coverage.svg").write_text(coverage())


if __name__ == "__main__":
    main()
