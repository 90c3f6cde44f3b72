"""What a reader was told, so that a list which is told again goes on where it stopped, or is found to differ. Pure.

A list that is unbroken never repeats anything: the gate sees to that. Only a list that was lost and is written again
begins at 0. Then tokens are compared with those told before, and text by its place in the choice's whole text: text is
a function of the tokens so far, but frames may be cut elsewhere, so a frame may be old in its first half.
"""

from array import array
from dataclasses import dataclass, field
from io import StringIO

import msgspec

from agon.errors import StreamLost
from agon.stream.frames import VERSION, Delta, End, Frame

_encoder = msgspec.msgpack.Encoder()
_delta = msgspec.msgpack.Decoder(Delta)
_end = msgspec.msgpack.Decoder(End)


@dataclass(slots=True)
class _Choice:
    """What was told of one choice, and how far the list has come that is read now: `at` tokens, `text_at` letters."""

    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    text: StringIO = field(default_factory=StringIO)
    length: int = 0
    finished: bool = False
    scored: bool = False
    at: int = 0
    text_at: int = 0

    def add(self, delta: Delta) -> None:
        self.tokens.extend(delta.token_ids)
        self.text.write(delta.text)
        self.length += len(delta.text)
        self.finished = self.finished or delta.finish_reason is not None
        self.scored = self.scored or delta.prompt_logprobs is not None

    def rest(self, delta: Delta, start: int, text_start: int) -> Delta:
        """What is new of a delta that lies at these places. Raises `StreamLost` where the old part differs."""
        old = min(len(self.tokens) - start, len(delta.token_ids))
        text_old = min(self.length - text_start, len(delta.text))
        if tuple(self.tokens[start : start + old]) != delta.token_ids[:old]:
            raise StreamLost("the answer's tokens were lost, and came out differently the second time")
        self.text.seek(text_start)
        said = self.text.read(text_old)
        self.text.seek(0, 2)
        if said != delta.text[:text_old]:
            raise StreamLost("the answer's text was lost, and came out differently the second time")
        return Delta(
            delta.token_ids[old:],
            delta.text[text_old:],
            None if self.finished else delta.finish_reason,
            # Those of old tokens were told with them; in their last digits they may differ now.
            delta.logprobs[old:] or None if delta.logprobs else None,
            None if self.scored else delta.prompt_logprobs,
        )


class Told:
    """Takes the frames of a list in order and gives those, or the parts, that are new."""

    def __init__(self) -> None:
        self.ended = False
        self._admitted = False
        self._choices: dict[int, _Choice] = {}

    def begin_again(self) -> None:
        """The list is another one now: its first frame comes next."""
        for choice in self._choices.values():
            choice.at = choice.text_at = 0

    def take(self, frame: Frame) -> Frame | None:
        """What is new of this frame, None if nothing. Raises `StreamLost` where it contradicts what was told."""
        if frame.kind == "delta":
            return self._delta(frame)
        if frame.kind == "final":
            return self._final(frame)
        if self._admitted:
            return None
        self._admitted = True
        return frame

    def _delta(self, frame: Frame) -> Frame | None:
        choice = self._choices.get(frame.choice)
        if choice is None:
            choice = self._choices[frame.choice] = _Choice()
        delta = _delta.decode(frame.body)
        start, text_start, told = choice.at, choice.text_at, len(choice.tokens)
        if frame.at != start:
            raise StreamLost(f"token {frame.at} of choice {frame.choice} came where {start} was due")
        choice.at += len(delta.token_ids)
        choice.text_at += len(delta.text)
        if start == told and text_start == choice.length and not choice.finished:
            choice.add(delta)
            return frame
        rest = choice.rest(delta, start, text_start)
        if rest == Delta((), ""):
            return None
        if choice.finished:
            raise StreamLost("the answer was told again, and went on where it had ended")
        choice.add(rest)
        data = msgspec.Raw(_encoder.encode(rest))
        return Frame(VERSION, frame.request, frame.attempt, told, frame.choice, "delta", data)

    def _final(self, frame: Frame) -> Frame:
        # A failed or cancelled end may come early; a good one must have all that was shown in front of it.
        short = any(choice.at < len(choice.tokens) for choice in self._choices.values())
        if short and _end.decode(frame.body).status == "finished":
            raise StreamLost("the answer was told again, and ended before what had been shown of it")
        self.ended = True
        return frame
