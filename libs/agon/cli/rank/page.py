"""A board as one web page that needs nothing else: tables that sort and filter, intervals drawn in place, win matrix.

No script or style comes from anywhere; without scripts the page is complete, it only can't sort. Light and dark follow
the reader's setting. Each picture has its numbers in a table or a title beside it.
"""

from html import escape
from pathlib import Path

from agon.cli.rank.report import Board, Report
from agon.ratings import Rated, Unranked
from agon.ratings.pictures import ticks, win_matrix

_LEGEND = (
    "<details><summary>What the numbers mean</summary>"
    "<p><b>Rating</b>: on Elo's scale, where 400 points are odds of 10 to 1 that the higher model wins a vote that has "
    "a winner. Only differences mean something.</p>"
    "<p><b>Interval</b>: if the same was done with as many other votes again and again, 95 of 100 such intervals would "
    "hold the true rating. It knows chance; it does not know whether these voters and prompts are those you care "
    "about.</p>"
    "<p><b>Range</b>: the best and the worst rank that the intervals allow. Models whose ranges overlap may stand in "
    "another order.</p></details>"
)

MOST_IN_MATRIX = 60
"""The best so many models are in the matrix: more can't be read."""

_REASONS = {
    "undefeated": "never lost a point: no finite rating",
    "winless": "never won a point: no finite rating",
    "unconnected": "met too few of these models to be compared",
}


def as_page(report: Report) -> str:
    """The whole document."""
    boards = "".join(_board(board, report) for board in report.boards)
    matrix = _matrix(report.boards[0])
    findings = "".join(
        f"<section><h2>{escape(finding.heading)}</h2><ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in finding.lines)
        + "</ul></section>"
        for finding in report.shown()
    )
    contents = ""
    if len(report.boards) > 1:
        links = "".join(f'<a href="#{_id(board)}">{escape(report.heading(board))}</a>' for board in report.boards)
        contents = f'<nav aria-label="Boards">{links}</nav>'
    title = f"Leaderboard of {Path(report.source).name}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{_beside('page.css')}</style></head><body><header><h1>{escape(title)}</h1>{_figures(report)}"
        f"<p>{escape(report.how())}.{_left_out(report)}</p>{contents}</header>"
        f"<main>{boards}{matrix}{findings}{_LEGEND}</main><footer>Made by <code>agon rank</code>.</footer>"
        f"<script>{_beside('page.js')}</script></body></html>\n"
    )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _figures(report: Report) -> str:
    votes = max(report.votes, 1)
    figures = [
        ("votes", f"{report.votes:,}"),
        ("models", f"{report.models:,}"),
        ("ties", _percent(report.outcomes["tie"], votes)),
        ("both bad", _percent(report.outcomes["both_bad"], votes)),
    ]
    if report.sides:
        decided = max(report.outcomes["a"] + report.outcomes["b"], 1)
        figures.append(("left side won", _percent(report.outcomes["a"], decided)))
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures) + "</dl>"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _left_out(report: Report) -> str:
    told = ", ".join(f"{count:,} {reason}" for reason, count in report.left_out.items())
    return f" Rows left out: {escape(told)}." if told else ""


def _board(board: Board, report: Report) -> str:
    heading = ""
    if len(report.boards) > 1:
        heading = f"<h2>{escape(report.heading(board))} <small>{board.ranking.votes:,} votes</small></h2>"
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in board.notes)
    return f'<section id="{_id(board)}">{heading}{notes}{_table(board)}</section>'


def _matrix(board: Board) -> str:
    order = board.order[:MOST_IN_MATRIX]
    if len(order) < 2:
        return ""
    title = "Who beats whom" + (f": the best {len(order)}" if len(order) < len(board.order) else "")
    return f'<figure class="scroll" tabindex="0">{win_matrix(board.cells, order, title)}</figure>'


def _table(board: Board) -> str:
    rows = board.ranking.rows
    low = min((row.lower for row in rows), default=900.0)
    high = max((row.upper for row in rows), default=1100.0)
    marks = [mark for mark in ticks(low, high, 5) if 3 < _at(mark, low, high) < 97]
    scale = "".join(f'<i style="left:{_at(mark, low, high):.2f}%">{mark:g}</i>' for mark in marks)
    grid = ",".join(
        f"linear-gradient(var(--line),var(--line)) {_at(mark, low, high):.2f}% 0/1px 100% no-repeat" for mark in marks
    )
    body = "".join(_row(row, low, high) for row in rows) + "".join(map(_outside, board.ranking.unranked))
    most = '<input type="search" placeholder="Find a model" aria-label="Find a model">' if len(rows) > 12 else ""
    heads = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (
            ("Rank", ' class="n"'),
            ("Range", ' class="n"'),
            ("Model", ""),
            ("Rating", ' class="n"'),
            ("Interval", ' class="n"'),
            (f'<span class="scale">{scale}</span><span class="hidden">Drawn</span>', ' class="bar" data-fixed'),
            ("Votes", ' class="n"'),
        )
    )
    return (
        f'{most}<div class="scroll" tabindex="0"><table><caption>{escape(board.name)}: {len(rows)} models by rating'
        f'</caption><thead><tr>{heads}</tr></thead><tbody style="--grid:{grid or "none"}">{body}</tbody></table></div>'
    )


def _row(row: Rated, low: float, high: float) -> str:
    left, right, dot = (_at(value, low, high) for value in (row.lower, row.upper, row.rating))
    return (
        f'<tr><td class="n">{row.rank}</td><td class="n soft">{row.rank_best}–{row.rank_worst}</td>'
        f'<th scope="row">{escape(row.model)}</th><td class="n strong">{row.rating:.0f}</td>'
        f'<td class="n soft">{row.lower:.0f} to {row.upper:.0f}</td>'
        f'<td class="bar" aria-hidden="true"><span style="left:{left:.2f}%;width:{right - left:.2f}%"></span>'
        f'<b style="left:{dot:.2f}%"></b></td><td class="n" data-v="{row.votes}">{row.votes:,}</td></tr>'
    )


def _outside(model: Unranked) -> str:
    return (
        f'<tr class="outside"><td></td><td></td><th scope="row">{escape(model.model)}</th><td></td>'
        f'<td colspan="2">{_REASONS[model.reason]}</td><td class="n" data-v="{model.votes}">{model.votes:,}</td></tr>'
    )


def _at(value: float, low: float, high: float) -> float:
    """Where a value lies, in percent of the bar's width, with a margin for the dot."""
    return 1.5 + 97 * (value - low) / ((high - low) or 1)


def _id(board: Board) -> str:
    return "board-" + "".join(c if c.isalnum() else "-" for c in board.name.lower())
