"""How votes become a board: what the options of `agon rank` say, checked and put into words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agon.errors import InvalidRequest
from agon.ratings import Anchor

Ranks = Literal["overlap", "pairwise", "joint"]
Intervals = Literal["sandwich", "fisher", "bootstrap", "cluster"]

METHODS = {
    "bt": "Bradley-Terry",
    "rao-kupper": "Rao-Kupper (ties have a probability of their own)",
    "davidson": "Davidson (ties have a probability of their own)",
    "grounded": "grounded Rao-Kupper (both bad has a probability of its own)",
    "elo": "Elo",
    "win-rate": "average win rate in %",
}
TIE_METHODS = {"rao-kupper": "rao_kupper", "davidson": "davidson", "grounded": "grounded"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Raises `InvalidRequest` for options that do not go together."""

    method: str = "bt"
    both_bad: str = "tie"
    """tie or apart"""
    intervals: Intervals = "sandwich"
    cluster: tuple[str, ...] = ()
    """roles or columns, one or two"""
    rounds: int = 100
    """of the bootstrap; orders of the votes for Elo"""
    seed: int = 0
    weight: str | None = None
    """the column of what votes weigh"""
    reweight: bool = False
    mix: str | None = None
    """the column of the groups that `shares` weigh"""
    shares: Mapping[str, float] = field(default_factory=dict)
    style: tuple[str, ...] = ()
    """`text`, columns, or pairs of columns with a comma between"""
    position: bool = False
    anchor: Anchor | None = None
    level: float = 0.95
    ranks: Ranks = "overlap"
    min_votes: int = 0

    def __post_init__(self) -> None:
        for option, used, why in (
            ("--style", self.style, "covariates are fitted to single votes, and only Bradley-Terry is"),
            ("--position", self.position, "covariates are fitted to single votes, and only Bradley-Terry is"),
            ("--intervals cluster", self.intervals == "cluster", "only Bradley-Terry has a score for each vote"),
            ("--intervals bootstrap", self.intervals == "bootstrap", "only Bradley-Terry is refitted round by round"),
        ):
            if used and self.method != "bt":
                raise InvalidRequest(f"{option} goes with --method bt, not with {self.method}: {why}")
        if self.intervals == "bootstrap" and (self.weighted or self.covariates):
            raise InvalidRequest("--intervals bootstrap draws whole votes: it takes no weights, style or position")
        if self.intervals == "cluster" and not 1 <= len(self.cluster) <= 2:
            raise InvalidRequest("--intervals cluster needs --cluster with one or two of voter, prompt or a column")
        if self.intervals == "fisher" and (self.weighted or self.method in ("elo", "win-rate")):
            raise InvalidRequest("--intervals fisher holds for unweighted votes and a fitted model")
        weighing = {"--weight": self.weight, "--reweight": self.reweight, "--mix": self.mix}
        said = [option for option, used in weighing.items() if used]
        if len(said) > 1:
            raise InvalidRequest(f"{said[0]} and {said[1]} both say what the votes weigh: take one")
        if bool(self.mix) != bool(self.shares):
            raise InvalidRequest("--mix COLUMN goes with --share VALUE=SHARE for each of its values")
        if self.method in ("elo", "win-rate") and (self.weighted or self.anchor or self.ranks != "overlap"):
            raise InvalidRequest(f"--method {self.method} takes no weights, anchor or --ranks")

    @property
    def weighted(self) -> bool:
        return self.reweight or self.mix is not None or self.weight is not None

    @property
    def covariates(self) -> bool:
        return bool(self.style) or self.position

    @property
    def by_row(self) -> bool:
        """Whether counts are not enough."""
        return self.covariates or self.intervals == "cluster"

    def carried(self) -> list[str]:
        """The roles and columns that this needs of a table, besides models and outcome."""
        names = [*self.cluster] if self.intervals == "cluster" else []
        names += [column for column in (self.mix, self.weight) if column]
        for item in self.style:
            names += ["left_text", "right_text"] if item == "text" else item.split(",")
        return list(dict.fromkeys(names))

    def said(self) -> str:
        """The method in words."""
        parts = [METHODS[self.method]]
        if self.both_bad == "apart":
            parts.append("without votes that found both bad")
        if self.weight:
            parts.append(f"weighed by {self.weight}")
        if self.reweight:
            parts.append("every pair weighs the same")
        if self.mix:
            parts.append(f"{self.mix} weighed to the declared shares")
        if self.style:
            parts.append("style controlled")
        if self.position:
            parts.append("position controlled")
        return ", ".join(parts)

    def intervals_said(self) -> str:
        """The intervals in words."""
        if self.method == "elo":
            return f"what the order of the votes alone changes, over {self.rounds} orders"
        if self.method == "win-rate":
            return "independent votes"
        if self.intervals == "cluster":
            return f"clustered by {' and '.join(self.cluster)}"
        return f"bootstrap of {self.rounds} rounds" if self.intervals == "bootstrap" else self.intervals
