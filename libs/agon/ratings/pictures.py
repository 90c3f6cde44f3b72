"""Pictures of a board as SVG: the ladder of intervals and the matrix of wins.

A picture is a string that stands alone or goes into a page. Its colours follow the reader's light or dark setting, its
words are text that can be selected and read aloud. A chart library would weigh more than all of `agon.ratings`.
"""

from collections.abc import Sequence
from html import escape
from math import floor, log10

from agon.ratings.cells import PairCells
from agon.ratings.ranking import Rated

_STYLE = """
.agon{--ink:#1c2430;--soft:#5d6b7e;--line:#d9dfe7;--mark:#1f6feb;--band:#1f6feb;--paper:#ffffff;
--high:33,102,172;--low:196,78,24;font:13px/1.2 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
@media (prefers-color-scheme:dark){.agon{--ink:#e6ebf2;--soft:#97a3b4;--line:#2f3947;--mark:#6cb0ff;--band:#6cb0ff;
--paper:#12171e;--high:84,160,236;--low:240,134,72}}
.agon text{fill:var(--ink)}.agon .soft{fill:var(--soft)}.agon .grid{stroke:var(--line)}
.agon .band{stroke:var(--band);stroke-width:6;stroke-linecap:round;opacity:.28}.agon .dot{fill:var(--mark)}
.agon .number{font-variant-numeric:tabular-nums;text-anchor:end}.agon .paper{fill:var(--paper)}
.agon .high{fill:rgb(var(--high))}.agon .low{fill:rgb(var(--low))}
.agon .strong{fill:#fff}.agon .none{fill:var(--line);opacity:.35}
"""

_ROW = 24
_CHARACTER = 7.0
"""The width of a character in the 13 px font, on average: names get this room."""
_PLOT = 520


def ladder(rows: Sequence[Rated], title: str) -> str:
    """Each model's rating (dot) and interval (bar), best first, with rank and votes."""
    names = max((len(row.model) for row in rows), default=0) * _CHARACTER
    x0 = 44 + names + 16
    width, top = x0 + _PLOT + 150, 58
    bottom = top + _ROW * len(rows)
    low = min((row.lower for row in rows), default=900.0)
    high = max((row.upper for row in rows), default=1100.0)
    marks = ticks(low, high)
    low, high = min(low, marks[0]), max(high, marks[-1])

    def x(value: float) -> float:
        return x0 + _PLOT * (value - low) / ((high - low) or 1)

    parts = [_text(16, 24, title, size=16, weight=600)]
    parts += [
        f'<line class="grid" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{top - 8}" y2="{bottom}"/>'
        f'<text class="soft" text-anchor="middle" x="{x(mark):.1f}" y="{top - 14}">{mark:g}</text>'
        for mark in marks
    ]
    parts.append(f'<text class="soft number" x="{x0 + _PLOT + 66:.0f}" y="{top - 14}">rating</text>')
    parts.append(f'<text class="soft number" x="{x0 + _PLOT + 138:.0f}" y="{top - 14}">votes</text>')
    for at, row in enumerate(rows):
        y = top + _ROW * at + _ROW / 2
        said = f"{row.model}: {row.rating:.0f}, between {row.lower:.0f} and {row.upper:.0f}"
        parts.append(
            f'<g><title>{escape(said)}</title><text class="soft number" x="34" y="{y + 4:.0f}">{row.rank}</text>'
            f'<text x="44" y="{y + 4:.0f}">{escape(row.model)}</text>'
            f'<line class="band" x1="{x(row.lower):.1f}" x2="{x(row.upper):.1f}" y1="{y:.0f}" y2="{y:.0f}"/>'
            f'<circle class="dot" cx="{x(row.rating):.1f}" cy="{y:.0f}" r="4"/>'
            f'<text class="number" x="{x0 + _PLOT + 66:.0f}" y="{y + 4:.0f}">{row.rating:.0f}</text>'
            f'<text class="soft number" x="{x0 + _PLOT + 138:.0f}" y="{y + 4:.0f}">{row.votes:,}</text></g>'
        )
    told = f"{len(rows)} models" + (f", best {rows[0].model} at {rows[0].rating:.0f}" if rows else "")
    return _svg(width, bottom + 16, title, told, parts)


def win_matrix(cells: PairCells, order: Sequence[str], title: str) -> str:
    """How often the row's model beat the column's (ties count half), in this order of models; grey where
    two never met.
    """
    share = win_shares(cells, order)
    n = len(order)
    side = 34 if n <= 30 else 22 if n <= 60 else 14
    numbers = side >= 34
    font = 13 if side >= 22 else 10
    names = max((len(name) for name in order), default=0) * _CHARACTER * font / 13
    x0, top = names + 28, 56 + names * 0.72
    width, height = max(x0 + side * n + names * 0.72 + 12, 420), top + side * n + 48
    parts = [_text(16, 24, title, size=16, weight=600)]
    for at, name in enumerate(order):
        y = top + side * at + side / 2
        x = x0 + side * at + side / 2
        parts.append(
            f'<text text-anchor="end" font-size="{font}" x="{x0 - 8:.0f}" y="{y + 4:.1f}">{escape(name)}</text>'
        )
        parts.append(
            f'<text font-size="{font}" transform="translate({x + 3:.1f} {top - 8:.1f}) rotate(-45)">'
            f"{escape(name)}</text>"
        )
    for i, row in enumerate(order):
        for j, column in enumerate(order):
            if i == j:
                continue
            x, y = x0 + side * j, top + side * i
            won, battles = share[i][j]
            if not battles:
                parts.append(_square(x, y, side, "none", 0.35, f"{row} never met {column}"))
                continue
            said = f"{row} beat {column} in {won:.0%} of {battles:,} votes"
            strength = min(1.0, abs(won - 0.5) * 2)
            parts.append(_square(x, y, side, "high" if won >= 0.5 else "low", 0.06 + 0.84 * strength, said))
            if numbers:
                ink = ' class="strong"' if strength > 0.6 else ""
                parts.append(
                    f'<text{ink} text-anchor="middle" font-size="11" x="{x + side / 2:.1f}" y="{y + side / 2 + 4:.1f}">'
                    f"{won * 100:.0f}</text>"
                )
    legend = (
        "the row beat the column in … % of their votes, a tie is half; blue above 50 %, orange below, grey never met"
    )
    parts.append(f'<text class="soft" font-size="12" x="16" y="{height - 14:.0f}">{legend}</text>')
    return _svg(width, height, title, f"win rates among {n} models", parts)


def win_shares(cells: PairCells, order: Sequence[str]) -> list[list[tuple[float, int]]]:
    """(share that the row's model won of the votes with the column's, those votes) in this order; (nan, 0) for none."""
    at = {model: place for place, model in enumerate(order)}
    points = [[0.0] * len(order) for _ in order]
    battles = [[0] * len(order) for _ in order]
    for left, right, (wins, losses, ties, bad) in zip(
        cells.left.tolist(), cells.right.tolist(), cells.counts.tolist(), strict=True
    ):
        i, j = at.get(cells.models[left]), at.get(cells.models[right])
        if i is None or j is None:
            continue
        half = (ties + bad) / 2
        points[i][j] += wins + half
        points[j][i] += losses + half
        battles[i][j] += wins + losses + ties + bad
        battles[j][i] += wins + losses + ties + bad
    return [
        [(won / met if met else float("nan"), met) for won, met in zip(won_row, met_row, strict=True)]
        for won_row, met_row in zip(points, battles, strict=True)
    ]


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers from `low` to `high`, about `most` of them, at steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-9)
    power = 10.0 ** floor(log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    first = floor(low / step)
    return [round((first + k) * step, 10) for k in range(int((high - first * step) / step) + 2)]


def _square(x: float, y: float, side: int, kind: str, opacity: float, said: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{side - 1}" height="{side - 1}" rx="2" '
        f'fill-opacity="{opacity:.2f}"><title>{escape(said)}</title></rect>'
    )


def _text(x: float, y: float, words: str, *, size: int, weight: int) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}">{escape(words)}</text>'


def _svg(width: float, height: float, title: str, description: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="agon" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><title>{escape(title)}</title><desc>{escape(description)}</desc>'
        f'<style>{_STYLE}</style><rect class="paper" width="100%" height="100%"/>{"".join(parts)}</svg>\n'
    )
