"""A board as one web page that needs nothing else: tables that sort and filter, intervals drawn in place, win matrix.

No script or style comes from anywhere; without scripts the page is complete, it only can't sort. Light and dark follow
the reader's setting. Each picture has its numbers in a table or a title beside it.
"""

from html import escape

from agon.cli.rank.report import Board, Report
from agon.ratings import Rated, Unranked
from agon.ratings.pictures import ticks, win_matrix

MOST_IN_MATRIX = 60
"""The best so many models are in the matrix: more can't be read."""

_REASONS = {
    "undefeated": "never lost a point: no finite rating",
    "winless": "never won a point: no finite rating",
    "unconnected": "met too few of these models to be compared",
}


def as_page(report: Report) -> str:
    """The whole document."""
    boards = "".join(_board(board, several=len(report.boards) > 1) for board in report.boards)
    findings = "".join(
        f"<section><h2>{escape(finding.heading)}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in finding.lines)}"
        "</ul></section>"
        for finding in report.findings
    )
    contents = ""
    if len(report.boards) > 1:
        links = "".join(f'<a href="#{_id(board)}">{escape(board.name)}</a>' for board in report.boards)
        contents = f'<nav aria-label="Boards">{links}</nav>'
    title = f"Leaderboard of {report.source}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<style>{_STYLE}</style></head><body><header><h1>{escape(title)}</h1>{_figures(report)}"
        f"<p>{escape(report.how())}.{_left_out(report)}</p>{contents}</header>"
        f"<main>{boards}{findings}{_LEGEND}</main><footer>Made by <code>agon rank</code>.</footer>"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _figures(report: Report) -> str:
    votes = max(report.votes, 1)
    figures = [
        ("votes", f"{report.votes:,}"),
        ("models", f"{report.models:,}"),
        ("ties", f"{report.outcomes['tie'] / votes:.1%}"),
        ("both bad", f"{report.outcomes['both_bad'] / votes:.1%}"),
        ("left side won", f"{report.outcomes['a'] / max(report.outcomes['a'] + report.outcomes['b'], 1):.1%}"),
    ]
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures) + "</dl>"


def _left_out(report: Report) -> str:
    told = ", ".join(f"{count:,} {reason}" for reason, count in report.left_out.items())
    return f" Rows left out: {escape(told)}." if told else ""


def _board(board: Board, *, several: bool) -> str:
    heading = f"<h2>{escape(board.name)} <small>{board.ranking.votes:,} votes</small></h2>" if several else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in board.notes)
    order = board.order[:MOST_IN_MATRIX]
    matrix = ""
    if len(order) > 1:
        title = "Who beats whom" + (f": the best {len(order)}" if len(order) < len(board.order) else "")
        matrix = f'<figure class="scroll" tabindex="0">{win_matrix(board.cells, order, title)}</figure>'
    return f'<section id="{_id(board)}">{heading}{notes}{_table(board)}{matrix}</section>'


def _table(board: Board) -> str:
    rows = board.ranking.rows
    low = min((row.lower for row in rows), default=900.0)
    high = max((row.upper for row in rows), default=1100.0)
    marks = [mark for mark in ticks(low, high, 5) if low <= mark <= high]
    scale = "".join(f'<i style="left:{_at(mark, low, high):.2f}%">{mark:g}</i>' for mark in marks)
    grid = ",".join(
        f"linear-gradient(var(--line),var(--line)) {_at(mark, low, high):.2f}% 0/1px 100% no-repeat" for mark in marks
    )
    body = "".join(_row(row, low, high) for row in rows) + "".join(map(_outside, board.ranking.unranked))
    most = '<input type="search" placeholder="Find a model" aria-label="Find a model">' if len(rows) > 12 else ""
    return (
        f'{most}<div class="scroll" tabindex="0"><table><caption>{escape(board.name)}: {len(rows)} models by rating, '
        f'with 95 % intervals</caption><thead><tr><th scope="col" class="n">Rank</th><th scope="col" class="n">Range</th>'
        f'<th scope="col">Model</th><th scope="col" class="n">Rating</th><th scope="col" class="n">Interval</th>'
        f'<th scope="col" class="bar" data-fixed><span class="scale">{scale}</span><span class="hidden">Drawn</span></th>'
        f'<th scope="col" class="n">Votes</th></tr></thead><tbody style="--grid:{grid or "none"}">{body}</tbody></table></div>'
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


_LEGEND = """<details><summary>What the numbers mean</summary><p><b>Rating</b>: on Elo's scale, 400 points are odds of 10
to 1 that the higher model wins a vote that has a winner. Only differences mean something.</p><p><b>Interval</b>: of
boards made from as many other votes in the same way, 95 of 100 would hold the true rating in it. It knows chance, not
whether these voters and prompts are those you care about.</p><p><b>Range</b>: the best and the worst rank that the
intervals allow. Models whose ranges overlap may stand in another order.</p></details>"""

_STYLE = """
:root{--ink:#1c2430;--soft:#5d6b7e;--line:#dfe4eb;--paper:#fff;--card:#f6f8fb;--mark:#1f6feb;--warn:#8a5a00;
--warn-paper:#fff7e0}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--soft:#9aa6b7;--line:#2c3644;--paper:#12171e;--card:#1a212b;
--mark:#6cb0ff;--warn:#f0cf80;--warn-paper:#2c2616}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1180px;padding:28px 20px 60px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
h1{font-size:24px;margin:0 0 12px;overflow-wrap:anywhere}h2{font-size:19px;margin:36px 0 10px}h2 small{color:var(--soft);
font-weight:400}p{margin:8px 0;color:var(--soft)}dl{display:flex;flex-wrap:wrap;gap:12px;margin:14px 0}
dl div{background:var(--card);border-radius:10px;padding:10px 16px;min-width:110px}dt{color:var(--soft);font-size:13px}
dd{margin:0;font-size:20px;font-weight:600;font-variant-numeric:tabular-nums}
nav{display:flex;flex-wrap:wrap;gap:8px;margin:14px 0}nav a{color:var(--mark);padding:3px 10px;border:1px solid var(--line);
border-radius:99px;text-decoration:none}
.note{color:var(--warn);background:var(--warn-paper);border-radius:8px;padding:7px 12px}
.scroll{overflow-x:auto;margin:14px 0}.scroll:focus-visible,a:focus-visible,button:focus-visible,input:focus-visible{
outline:2px solid var(--mark);outline-offset:2px}
input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:6px 12px;
width:260px;max-width:100%;margin-top:10px}
table{border-collapse:collapse;width:100%;min-width:760px}caption,.hidden{position:absolute;width:1px;height:1px;
overflow:hidden;clip-path:inset(50%)}
th,td{text-align:left;padding:5px 10px;border-bottom:1px solid var(--line);font-weight:400;white-space:nowrap}
thead th{color:var(--soft);font-size:13px;position:sticky;top:0;background:var(--paper);vertical-align:bottom;z-index:1}
thead button{all:unset;cursor:pointer}thead button:hover{color:var(--ink)}thead [aria-sort=ascending] button::after{content:" ↑"}
thead [aria-sort=descending] button::after{content:" ↓"}tbody tr:hover{background:var(--card)}
tbody th{font-weight:500}.n{text-align:right;font-variant-numeric:tabular-nums}.soft{color:var(--soft)}.strong{font-weight:600}
.bar{position:relative;width:38%;min-width:220px;padding:0}tbody .bar{background:var(--grid)}
.bar span:not(.scale,.hidden){position:absolute;top:50%;height:8px;margin-top:-4px;border-radius:4px;background:var(--mark);
opacity:.3}.bar b{position:absolute;top:50%;width:10px;height:10px;margin:-5px;border-radius:50%;background:var(--mark)}
.scale{position:absolute;inset:auto 0 5px}.scale i{position:absolute;bottom:0;transform:translateX(-50%);font-style:normal}
.outside{color:var(--soft);font-style:italic}details{margin-top:30px;background:var(--card);border-radius:10px;
padding:10px 16px}summary{cursor:pointer}figure{margin:34px 0 0}footer{margin-top:40px;color:var(--soft);font-size:13px}
@media print{body{max-width:none}input,nav{display:none}}
"""

_SCRIPT = """
for(const table of document.querySelectorAll('table')){const body=table.tBodies[0];
table.querySelectorAll('thead th:not([data-fixed])').forEach((head)=>{const at=head.cellIndex;const button=document.createElement('button');
button.textContent=head.textContent;head.replaceChildren(button);button.onclick=()=>{const down=head.getAttribute('aria-sort')==='ascending';
table.querySelectorAll('th[aria-sort]').forEach(o=>o.removeAttribute('aria-sort'));
head.setAttribute('aria-sort',down?'descending':'ascending');
const value=r=>{const c=r.cells[at];return c?(c.dataset.v??c.textContent):''};
const rows=[...body.rows];const ranked=rows.filter(r=>r.className!=='outside');
ranked.sort((a,b)=>value(a).localeCompare(value(b),'en',{numeric:true})*(down?-1:1));
body.append(...ranked,...rows.filter(r=>r.className==='outside'))}})
const find=table.closest('section').querySelector('input');if(find)find.oninput=()=>{for(const row of body.rows)
row.hidden=!row.querySelector('th').textContent.toLowerCase().includes(find.value.toLowerCase())}}
"""
