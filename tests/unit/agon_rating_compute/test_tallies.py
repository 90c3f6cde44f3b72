"""Cells in memory are those of the tables, or none."""

from typing import Any

import pytest

from agon.ratings import PairCells
from agon.store import cells
from agon.store.cells import Slice
from agon_rating_compute.tallies import Tallies, Tally

WHERE = Slice("default", "main", "overall")
ARENA = ("default", "main")
XY = ("x", "y", (3, 1, 0, 0))


class Table:
    """What `cells.read` would find; counts how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.mark = 4
        self.cells: list[Any] = [XY]
        monkeypatch.setattr(cells, "read", self.read)

    async def read(self, *_: Any) -> Any:
        self.asked += 1
        return self.mark, self.cells


def same(found: PairCells, *expected: Any) -> bool:
    wanted = PairCells.of(expected)
    arrays = ("left", "right", "counts")
    return found.models == wanted.models and all(
        getattr(found, name).tolist() == getattr(wanted, name).tolist() for name in arrays
    )


def test_what_is_added_is_counted_and_sorted() -> None:
    tally = Tally(4, [XY])
    tally.add({("y", "x"): (0, 0, 1, 0), ("a", "x"): (1, 0, 0, 0), ("x", "y"): (-1, 0, 0, 2)}, 9)
    assert tally.mark == 9
    assert same(tally.cells(), ("x", "y", (2, 1, 0, 2)), ("y", "x", (0, 0, 1, 0)), ("a", "x", (1, 0, 0, 0)))


def test_a_pair_whose_votes_were_all_retracted_is_gone() -> None:
    tally = Tally(4, [XY, ("z", "x", (1, 0, 0, 0))])
    tally.add({("z", "x"): (-1, 0, 0, 0)}, 5)
    assert same(tally.cells(), XY)


def test_many_pairs_are_kept() -> None:
    found = [(f"m{i}", f"m{j}", (i, j, 1, 0)) for i in range(20) for j in range(20) if i != j]
    assert same(Tally(1, found).cells(), *found)


async def test_a_slice_is_read_once_and_then_follows_what_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    table, tallies = Table(monkeypatch), Tallies()
    await tallies.read(None, WHERE, 4)
    tallies.add(ARENA, 4, 6, {("overall", "x", "y"): [1, 0, 0, 0], ("language-en", "x", "y"): [1, 0, 0, 0]})
    tallies.add(ARENA, 6, 7, {("language-en", "x", "y"): [1, 0, 0, 0]})
    mark, found = await tallies.read(None, WHERE, 6)
    assert (mark, table.asked) == (7, 1)
    assert same(found, ("x", "y", (4, 1, 0, 0)))


async def test_what_is_known_already_is_not_added_again(monkeypatch: pytest.MonkeyPatch) -> None:
    table, tallies = Table(monkeypatch), Tallies()
    table.mark = 6  # read after the commit, before this process was told of it
    await tallies.read(None, WHERE, 6)
    tallies.add(ARENA, 4, 6, {("overall", "x", "y"): [1, 0, 0, 0]})
    assert same((await tallies.read(None, WHERE, 6))[1], XY)


async def test_a_gap_or_somebody_elses_count_makes_it_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    table, tallies = Table(monkeypatch), Tallies()
    await tallies.read(None, WHERE, 4)
    tallies.add(ARENA, 8, 9, {("overall", "x", "y"): [1, 0, 0, 0]})
    table.mark, table.cells = 9, [("x", "y", (9, 0, 0, 0))]
    assert same((await tallies.read(None, WHERE, 9))[1], ("x", "y", (9, 0, 0, 0)))
    table.mark, table.cells = 12, [("x", "y", (12, 0, 0, 0))]
    assert (await tallies.read(None, WHERE, 12))[0] == 12
    assert table.asked == 3
