"""When how much of two answers is shown, so that nothing but their words tells the models apart.

Everything here is a symmetric function of both sides, or of the lengths of the words themselves:

1. **Common start.** Nothing is shown until both sides have begun (or ended), and then for one more `window`, whether
   or not an answer is complete by then: a start that came earlier for complete answers would tell which side was fast.
2. **One pace.** At the start a pace is chosen for the whole turn, for both: the slower side's rate with a margin, cut
   down to one of a few `PACES`, so that waiting in the middle is rare.
3. **Lockstep.** On each tick both sides grow by the same number of characters. If a side that is still generating lacks
   them, both wait. When the shorter one is shown completely, the longer one goes on at the same pace.
4. **Common end.** That both are complete (or that one failed) is told once, after the last character of the longer one.

The clock is the caller's: times are seconds of any monotonic clock.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

TICK = 0.05
"""Seconds between two steps."""
PACES = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Characters per tick. The fastest, 320 characters a second, is several times what people read."""
MAX_STEP = ceil(PACES[-1])


@dataclass(frozen=True, slots=True)
class Rules:
    """The pacer's constants, in seconds and characters per second."""

    tick: float = TICK
    window: float = 0.4
    """From the moment that both sides have begun until the first character is shown; rates are measured meanwhile."""
    margin: float = 0.7
    """Share of the slower side's rate that is shown, so that its buffer grows instead of running dry."""
    default_rate: float = 160.0
    """The rate of a side of which nothing is known: too short to be measured, and the first of its model."""
    start_timeout: float = 60.0
    """A side that has not begun so long after the request has failed."""


class Meter:
    """How fast one side comes: characters per second between its first piece and its latest.

    `began` is the time of the first text, or of the end where there was none.
    """

    ENOUGH = 4  # pieces after the first: fewer tell more about the answer's length than about the engine

    def __init__(self) -> None:
        self.began: float | None = None
        self._latest = 0.0
        self._pieces = 0
        self._characters = 0

    def text(self, at: float, characters: int) -> None:
        """So many characters came. What comes at one moment with the first piece says nothing about speed."""
        if self.began is None:
            self.began = at
        elif at > self.began:
            self._latest = at
            self._pieces += 1
            self._characters += characters

    def end(self, at: float) -> None:
        if self.began is None:
            self.began = at

    @property
    def rate(self) -> float | None:
        """Characters per second, None while there is too little to go by."""
        if self.began is None or self._pieces < self.ENOUGH:
            return None
        return self._characters / (self._latest - self.began)


class Rates:
    """What rates models had lately, for answers too short to be measured: `most` models, the newest ones."""

    SMOOTHING = 0.3

    def __init__(self, most: int = 256) -> None:
        self._rates: OrderedDict[str, float] = OrderedDict()
        self._most = most

    def learn(self, model: str, rate: float | None) -> None:
        if rate is None:
            return
        known = self._rates.pop(model, rate)
        self._rates[model] = known + self.SMOOTHING * (rate - known)
        if len(self._rates) > self._most:
            self._rates.popitem(last=False)

    def expect(self, model: str, measured: float | None) -> float | None:
        """What to expect of a side: the lower of what was measured and what is known; None if neither is."""
        known = [rate for rate in (measured, self._rates.get(model)) if rate is not None]
        return min(known) if known else None


def choose_pace(rates: Iterable[float | None], rules: Rules) -> float:
    """The one pace for both, in characters per tick: the largest of `PACES` that the slower side keeps up with."""
    slower = min(rules.default_rate if rate is None else rate for rate in rates)
    bearable = slower * rules.margin * rules.tick
    return max((pace for pace in PACES if pace <= bearable), default=PACES[0])


@dataclass(frozen=True, slots=True)
class Arrived:
    """What has come of one side: complete characters, whether it has ended (well or not), and when it began."""

    characters: int
    ended: bool
    began: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """How many characters of each side are shown, and whether that is all there will ever be."""

    a: int = 0
    b: int = 0
    complete: bool = False


def start_time(a: Arrived, b: Arrived, rules: Rules) -> float | None:
    """When to show the first characters, None while a side has not begun."""
    if a.began is None or b.began is None:
        return None
    return max(a.began, b.began) + rules.window


class Pacer:
    """The state of one turn's showing once its pace is chosen: `step` once per tick.

    `ticks` is how many steps' worth should have been shown already: 0 for a new turn, more where another process
    showed the beginning. The first step catches up with it, as far as both sides allow.
    """

    def __init__(self, pace: float, ticks: int = 0) -> None:
        self.pace = pace
        self.shown = Shown()
        self._ticks = 0
        self._behind = ticks

    def step(self, a: Arrived, b: Arrived) -> Shown:
        """One tick: go on by the pace, or wait if a side that is still generating lacks the characters."""
        steps, self._behind = 1 + self._behind, 0
        while steps and not self.shown.complete and self._advance(a, b):
            steps -= 1
        return self.shown

    def _advance(self, a: Arrived, b: Arrived) -> bool:
        target = int((self._ticks + 1) * self.pace)
        if any(not side.ended and side.characters < target for side in (a, b)):
            return False
        self._ticks += 1
        shown_a, shown_b = min(target, a.characters), min(target, b.characters)
        complete = a.ended and b.ended and target >= max(a.characters, b.characters)
        self.shown = Shown(shown_a, shown_b, complete)
        return True
