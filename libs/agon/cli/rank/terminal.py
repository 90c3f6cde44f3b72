"""A report on a terminal."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.text import Text

from agon.cli.board import board_console, board_table

if TYPE_CHECKING:
    from agon.cli.rank.report import Report


def show(report: "Report") -> None:
    """Print a report."""
    console = board_console()
    console.print(escape(report.summary()), style="bold", soft_wrap=True)
    console.print(escape(report.how()), style="dim", soft_wrap=True)
    for board in report.boards:
        title = f"{report.heading(board)}, {board.ranking.votes:,} votes" if len(report.boards) > 1 else None
        console.print(board_table(board.ranking.rows, board.ranking.unranked, console, title))
        for note in board.notes:
            console.print(Text("! ", style="yellow") + Text(note), soft_wrap=True)
    for finding in report.shown():
        console.print(f"\n{escape(finding.heading)}", style="bold", soft_wrap=True)
        for line in finding.lines:
            console.print(escape(f"  {line}"), soft_wrap=True)
