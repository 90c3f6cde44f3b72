"""A board on a terminal, with a bar for each interval: what `agon rank` and `agon simulate` print."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agon.ratings import Rated, Unranked

_LONGEST_BAR, _SHORTEST_BAR = 40, 10
_PIPED = 200
"""Columns where nobody looks: a table that is piped must not be cut or wrapped."""

REASONS = {
    "undefeated": "never lost",
    "winless": "never won",
    "unconnected": "not comparable",
}


def board_console() -> Console:
    """Standard output; as wide as it needs to be where that is no terminal."""
    return Console() if sys.stdout.isatty() else Console(width=_PIPED)


def board_table(rows: Sequence[Rated], unranked: Sequence[Unranked], console: Console, title: str | None) -> Table:
    """Ranks with their ranges, ratings with their intervals, votes; below them the models that have no rating."""
    table = Table(title=title, title_justify="left", title_style="bold")
    names = max((len(name) for name in [*(row.model for row in rows), *(model.model for model in unranked)]), default=5)
    room = console.width - min(names, 40) - 62
    bar = min(_LONGEST_BAR, room) if console.is_terminal else _LONGEST_BAR // 2
    table.add_column("rank", justify="right")
    table.add_column("range", justify="center", style="dim", no_wrap=True)
    table.add_column("model", overflow="ellipsis", no_wrap=True)
    table.add_column("rating", justify="right", style="bold")
    table.add_column("interval", justify="center", no_wrap=True)
    if bar >= _SHORTEST_BAR:
        table.add_column("", no_wrap=True)
    table.add_column("votes", justify="right")
    low = min((row.lower for row in rows), default=0.0)
    high = max((row.upper for row in rows), default=1.0)
    plain = not (console.encoding or "").lower().startswith("utf")
    for row in rows:
        cells: list[str | Text] = [
            str(row.rank),
            f"{row.rank_best}-{row.rank_worst}",
            Text(row.model),
            f"{row.rating:.0f}",
            f"{row.lower:.0f} to {row.upper:.0f}",
        ]
        drawn = [interval_bar(row, low, high, bar, plain=plain)] if bar >= _SHORTEST_BAR else []
        table.add_row(*cells, *drawn, f"{row.votes:,}")
    for model in unranked:
        blank = [""] if bar >= _SHORTEST_BAR else []
        table.add_row("", "", Text(model.model), "", REASONS[model.reason], *blank, f"{model.votes:,}", style="dim")
    return table


def interval_bar(row: Rated, low: float, high: float, width: int, *, plain: bool = False) -> Text:
    """`width` characters that stand for low to high: a line over the interval, a dot at the rating."""
    line, dot = ("-", "o") if plain else ("━", "●")

    def at(value: float) -> int:
        return round((width - 1) * (value - low) / ((high - low) or 1))

    first, middle, last = at(row.lower), at(row.rating), at(row.upper)
    return Text.assemble(
        " " * first,
        (line * (middle - first), "cyan"),
        (dot, "bold cyan"),
        (line * (last - middle), "cyan"),
        " " * (width - 1 - last),
    )
