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
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED)


def board_table(rows: Sequence[Rated], unranked: Sequence[Unranked], console: Console, title: str | None) -> Table:
    """Ranks with their ranges, ratings with their intervals, votes; below them the models that have no rating."""
    table = Table(title=title, title_justify="left", title_style="bold")
    everyone: list[Rated | Unranked] = [*rows, *unranked]
    names = max((len(model.model) for model in everyone), default=5)
    counts = max((len(f"{model.votes:,}") for model in everyone), default=5)
    # Only names may be cut: a number without its end is another number.
    room = console.width - (4 + 7 + 6 + 12 + max(counts, 5)) - 3 * 6 - 1
    bar = min(_LONGEST_BAR, room - min(names, 40) - 3) if console.is_terminal else _LONGEST_BAR // 2
    drawn = bar >= _SHORTEST_BAR
    table.add_column("rank", justify="right", min_width=4)
    table.add_column("range", justify="center", style="dim", min_width=7)
    table.add_column("model", overflow="ellipsis", no_wrap=True, max_width=max(room - (bar + 3) * drawn, 8))
    table.add_column("rating", justify="right", style="bold", min_width=6)
    table.add_column("interval", justify="center", min_width=12)
    if drawn:
        table.add_column("", no_wrap=True, min_width=bar)
    table.add_column("votes", justify="right", min_width=max(counts, 5))
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
        if drawn:
            cells.append(interval_bar(row, low, high, bar, plain=plain))
        table.add_row(*cells, f"{row.votes:,}")
    for model in unranked:
        blank = [""] * drawn
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
