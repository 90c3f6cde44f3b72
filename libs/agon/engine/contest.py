"""Best of: more choices are generated than told, and nothing is told before all have ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agon.engine.events import TokenLogprob, Tokens


@dataclass(slots=True)
class _Entrant:
    score: float = 0.0
    token_ids: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    logprobs: list[TokenLogprob] = field(default_factory=list)


class Contest:
    """The choices of one request. A resumed one starts again: all follows from the seed."""

    def __init__(self, key: str, entrants: int, told: int, ended: Sequence[str | None], *, logprobs: bool) -> None:
        """The best `told` of so many. Those of them that `ended` has a reason for were told by an earlier attempt."""
        self._key = key
        self._entrants = [_Entrant() for _ in range(entrants)]
        self._told = told
        self._ended = ended
        self._logprobs = logprobs

    def add(self, event: Tokens) -> None:
        """A choice goes on; each of its tokens has a log-probability."""
        entrant = self._entrants[event.choice]
        entrant.token_ids += event.token_ids
        entrant.text.append(event.text)
        entrant.finish_reason = event.finish_reason
        entrant.logprobs += event.logprobs or ()
        entrant.score += sum(item.logprob or 0.0 for item in event.logprobs or ())

    def result(self) -> list[Tokens]:
        """The best choices by the sum of their tokens' log-probabilities, the first of equals first, each whole."""
        best = sorted(self._entrants, key=lambda entrant: -entrant.score)[: self._told]
        return [
            self._as_event(place, entrant)
            for place, entrant in enumerate(best)
            if place >= len(self._ended) or self._ended[place] is None
        ]

    def _as_event(self, place: int, entrant: _Entrant) -> Tokens:
        logprobs = tuple(entrant.logprobs) if self._logprobs else None
        text = "".join(entrant.text)
        return Tokens(self._key, place, 0, tuple(entrant.token_ids), text, entrant.finish_reason, logprobs)
