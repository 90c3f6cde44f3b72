"""Boards as text for other programs: JSON, CSV, Markdown."""

import csv
import io
import json
from collections.abc import Sequence

from agon.cli.rank.report import Board, Report

FIELDS = ("rank", "rank_best", "rank_worst", "model", "rating", "lower", "upper", "votes")


def as_json(report: Report) -> str:
    """One object, see `Report.data`."""
    return json.dumps(report.data(), indent=2, ensure_ascii=False) + "\n"


def as_csv(report: Report) -> str:
    """A header, then a line for each model of each board; those that can't be ranked have a `reason` and no rank."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("board", *FIELDS, "reason"))
    for board in report.boards:
        for row in board.ranking.rows:
            writer.writerow((board.name, *(getattr(row, name) for name in FIELDS), ""))
        for model in board.ranking.unranked:
            writer.writerow((board.name, "", "", "", model.model, "", "", "", model.votes, model.reason))
    return text.getvalue()


def as_markdown(report: Report) -> str:
    """A table for each board, with what was read above and what to know below."""
    parts = [report.summary() + "  ", report.how(), ""]
    for board in report.boards:
        if len(report.boards) > 1:
            parts += [f"## {report.heading(board)}, {board.ranking.votes:,} votes", ""]
        parts += [*_markdown_table(board), ""]
        parts += [f"> {note}  " for note in board.notes] + ([""] if board.notes else [])
    for finding in report.shown():
        parts += [f"### {finding.heading}", "", *(f"- {line}" for line in finding.lines), ""]
    return "\n".join(parts).rstrip() + "\n"


def _markdown_table(board: Board) -> list[str]:
    lines = ["| rank | range | model | rating | interval | votes |", "|--:|:-:|:--|--:|:-:|--:|"]
    lines += [
        f"| {row.rank} | {row.rank_best}–{row.rank_worst} | {_cell(row.model)} | {row.rating:.1f} "
        f"| {row.lower:.1f} to {row.upper:.1f} | {row.votes:,} |"
        for row in board.ranking.rows
    ]
    lines += [f"| | | {_cell(model.model)} | | {model.reason} | {model.votes:,} |" for model in board.ranking.unranked]
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def matrix_csv(order: Sequence[str], shares: Sequence[Sequence[tuple[float, int]]]) -> str:
    """A line for each pair that met: model, opponent, the share that it won (ties half), and their votes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("model", "opponent", "won", "votes"))
    for model, row in zip(order, shares, strict=True):
        writer.writerows(
            (model, opponent, round(won, 6), votes) for opponent, (won, votes) in zip(order, row, strict=True) if votes
        )
    return text.getvalue()
