"""What `agon rank` found out, before anybody says how to print it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agon.ratings import PairCells, Ranking


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to a question beside the board, such as how two models compare: a heading, lines, and data.

    `name` is its key in JSON.
    """

    name: str
    heading: str
    lines: tuple[str, ...]
    data: Any


@dataclass(frozen=True, slots=True)
class Board:
    """One table: all votes, or those of one category."""

    name: str
    ranking: Ranking
    cells: PairCells
    notes: tuple[str, ...] = ()
    """What a reader of the numbers must know, a sentence each."""
    findings: tuple[Finding, ...] = ()
    """What the fit says besides, such as the worth of style."""

    @property
    def order(self) -> list[str]:
        """The ranked models, best first."""
        return [row.model for row in self.ranking.rows]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is printed, in whatever format."""

    source: str
    rows: int
    """rows of the file"""
    votes: int
    models: int
    outcomes: Mapping[str, int]
    """votes by outcome: a (left wins), b, tie, both_bad"""
    left_out: Mapping[str, int]
    """rows that are no votes, by reason"""
    columns: Mapping[str, str]
    """role to column"""
    method: str
    intervals: str
    level: float
    boards: Sequence[Board]
    by: str | None = None
    """the column whose values have boards of their own, after the first"""
    sides: bool = True
    """whether left and right are where the answers stood, rather than a matter of writing pairs down"""
    findings: Sequence[Finding] = field(default_factory=tuple)

    def summary(self) -> str:
        """What was read, in a line."""
        told = [f"{self.votes:,} votes on {self.models:,} models", f"{self._share('tie')} ties"]
        if self.outcomes["both_bad"]:
            told.append(f"{self._share('both_bad')} both bad")
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        return f"{self.source}: {', '.join(told)}" + (f"; left out: {left_out}" if left_out else "")

    def how(self) -> str:
        """Which numbers these are, in a line."""
        return f"{self.method}; {self.level * 100:g} % intervals: {self.intervals}"

    def heading(self, board: Board) -> str:
        """The name of a board among several."""
        return board.name if board is self.boards[0] or self.by is None else f"{self.by}: {board.name}"

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "source": self.source,
            "rows_read": self.rows,
            "votes": self.votes,
            "models": self.models,
            "outcomes": dict(self.outcomes),
            "left_out": dict(self.left_out),
            "columns": dict(self.columns),
            "method": self.method,
            "intervals": self.intervals,
            "level": self.level,
            "by": self.by,
            "boards": [
                {
                    "name": board.name,
                    "votes": board.ranking.votes,
                    "gradient": board.ranking.fit.gradient if board.ranking.fit else None,
                    "rows": [row._asdict() for row in board.ranking.rows],
                    "unranked": [asdict(model) for model in board.ranking.unranked],
                    "notes": list(board.notes),
                    **{finding.name: finding.data for finding in board.findings},
                }
                for board in self.boards
            ],
            **self._answers(),
        }

    def shown(self) -> tuple[Finding, ...]:
        """The findings to print below the boards: those of the first, and the answers to what was asked."""
        return (*self.boards[0].findings, *self.findings)

    def _answers(self) -> dict[str, Any]:
        """By name; several comparisons are a list."""
        told: dict[str, Any] = {}
        for finding in self.findings:
            if finding.name == "comparisons":
                told.setdefault("comparisons", []).append(finding.data)
            else:
                told[finding.name] = finding.data
        return told

    def _share(self, outcome: str) -> str:
        share = self.outcomes[outcome] / self.votes if self.votes else 0.0
        return f"{share * 100:.1f} %"
