"""What is known of a request's answer: the entries of its list, and what follows from them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from agon.backends import Job
from agon.engine.events import TokenLogprob
from agon.messages import GenerationRequest
from agon.stream.frames import Admission, Body, Delta, End, Frame, body


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A frame before it is encoded: `at` is the number of tokens that its choice had before it."""

    choice: int
    at: int
    body: Body

    @property
    def tokens(self) -> int:
        return len(self.body.token_ids) if isinstance(self.body, Delta) else 0


@dataclass(slots=True)
class Said:
    """One choice so far."""

    token_ids: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    """Of how many tokens each piece of the text is made."""
    finish_reason: str | None = None
    logprobs: list[TokenLogprob] | None = None


@dataclass(slots=True)
class Transcript:
    """Everything that a list says, folded."""

    said: list[Said]
    admission: Admission | None = None
    prompt_logprobs: tuple[TokenLogprob, ...] | None = None
    end: End | None = None

    @property
    def completion_tokens(self) -> int:
        return sum(len(said.token_ids) for said in self.said)

    @property
    def emitted(self) -> bool:
        return any(said.token_ids or said.finish_reason for said in self.said)

    @property
    def all_ended(self) -> bool:
        """Every choice has its finish reason: only the final frame is missing."""
        return all(said.finish_reason is not None for said in self.said)


def entries_of(frames: Iterable[Frame]) -> list[Entry]:
    """The entries of a list as the gate gives it."""
    return [Entry(frame.choice, frame.at, body(frame)) for frame in frames]


def read(entries: Sequence[Entry], choices: int) -> Transcript:
    """Fold a list's entries. `choices` is the request's `n`; an entry of a further choice makes room for it."""
    transcript = Transcript([Said() for _ in range(choices)])
    for entry in entries:
        match entry.body:
            case Admission() as admission:
                transcript.admission = transcript.admission or admission
            case End() as end:
                transcript.end = end
            case Delta(token_ids, text, finish_reason, logprobs, prompt_logprobs):
                while entry.choice >= len(transcript.said):
                    transcript.said.append(Said())
                said = transcript.said[entry.choice]
                said.token_ids.extend(token_ids)
                said.text.append(text)
                said.counts.append(len(token_ids))
                said.finish_reason = finish_reason or said.finish_reason
                if logprobs is not None:
                    said.logprobs = (said.logprobs or []) + list(logprobs)
                transcript.prompt_logprobs = transcript.prompt_logprobs or prompt_logprobs
    return transcript


def job(request: GenerationRequest, transcript: Transcript) -> Job:
    """What is left to do: everything, or what comes behind the tokens that earlier attempts have put out."""
    return Job(
        request=request,
        emitted=tuple(tuple(said.token_ids) for said in transcript.said),
        ended=tuple(said.finish_reason for said in transcript.said),
    )
