"""The table on terminals of any width."""

import pytest
from rich.console import Console

from agon.cli.board import board_table, interval_bar
from agon.ratings import Rated, Unranked

ROWS = [
    Rated(1, 1, 2, "a-model-with-quite-a-long-name-and-a-date-2026-11-27", 1204.2, 1190.0, 1218.4, 1_234_567),
    Rated(2, 1, 2, "short", 1188.0, 1180.0, 1196.0, 12),
]


@pytest.mark.parametrize("width", [70, 80, 100, 140, 200])
def test_only_names_are_cut(width: int) -> None:
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(board_table(ROWS, [Unranked("new", 3, "undefeated")], console, None))
    lines = captured.get().splitlines()
    assert {len(line) for line in lines if line} == {len(lines[0])}
    assert len(lines[0]) <= width
    for number in ("1204", "1190 to 1218", "1,234,567", "never lost"):
        assert number in captured.get()
    assert ("●" in captured.get()) == (width >= 140)


def test_a_bar_spans_its_interval() -> None:
    bar = interval_bar(ROWS[1], 1180.0, 1220.0, 41).plain
    assert (bar.index("━"), bar.index("●"), bar.rindex("━")) == (0, 8, 16)
    assert len(bar) == 41
    assert interval_bar(ROWS[1], 1180.0, 1220.0, 41, plain=True).plain == bar.replace("━", "-").replace("●", "o")
