"""A request in this worker's hands, from its claim until Kafka has its completion: events become entries here. No I/O.

`pending` entries are not known to be on the list yet, `written` ones are. The gate judges pending entries as a whole,
so what was sent (`sent`) stays as it is until the answer; what comes behind it may still be merged.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from agon.backends import Admitted, Finished, Scored, Tokens
from agon.dialects import may_turn
from agon.errors import AgonError, Cancelled, EngineFailed, Expired
from agon.messages import GenerationRequest, Status
from agon.stream.frames import Admission, Delta, End
from agon_inference.taken import Identity, Taken
from agon_inference.transcript import Entry, Transcript, read

APART = 8
"""Unsent entries of a choice before tokens share one: a client gets an event for each token, also where several come at
once, and their costs are shared (one call, one write, one wake-up)."""


@dataclass(slots=True, eq=False)
class Held:
    """See above. `request` is None for a record that was refused but has an id, and therefore an end."""

    taken: Taken
    worker: str
    attempt: int
    written: list[Entry] = field(default_factory=list)
    pending: list[Entry] = field(default_factory=list)
    sent: int = 0
    rewriting: bool = False
    """Redis has lost the list: what is pending is all of it."""
    submitted: bool = False
    """A backend has the job, and owes a terminal event."""
    ending: bool = False
    """The final entry is made: nothing may come behind it."""
    admitted: bool = False
    scored: bool = False
    positions: list[int] = field(default_factory=list)
    first_token_at: float | None = None
    last_token_at: float | None = None
    key: str = field(init=False)
    model: str = field(init=False)

    def __post_init__(self) -> None:
        self.key, self.model = self.identity.key, self.identity.model
        transcript = self.transcript()
        self.admitted = transcript.admission is not None
        self.scored = transcript.prompt_logprobs is not None
        self.positions = [len(said.token_ids) for said in transcript.said]

    @property
    def identity(self) -> Identity:
        return self.taken.identity

    @property
    def request(self) -> GenerationRequest | None:
        return self.taken.request

    @property
    def ended(self) -> bool:
        """The final entry is on the list."""
        return bool(self.written) and isinstance(self.written[-1].body, End)

    def transcript(self) -> Transcript:
        """What the list says, as far as it is known to be there."""
        return read(self.written, self.request.choices if self.request else 0)

    # What backends tell

    def admit(self, event: Admitted) -> None:
        """Noted once per list, whichever attempt was first."""
        if not self.admitted and not self.ending:
            self.admitted = True
            body = Admission(self.worker, event.prompt_tokens, event.cached_tokens, time.time())
            self.pending.append(Entry(0, 0, body))

    def score(self, event: Scored) -> None:
        """The prompt's log-probabilities: noted once per list, in front of all tokens."""
        if not self.scored and not self.ending:
            self.scored = True
            self.pending.append(Entry(0, 0, Delta((), "", prompt_logprobs=event.logprobs)))

    def add(self, event: Tokens) -> None:
        """New tokens. A backend that skips or repeats some ends the request: its text would be wrong."""
        if self.ending:
            return
        expected = self.positions[event.choice] if event.choice < len(self.positions) else None
        if event.at != expected:
            self.fail(EngineFailed(f"choice {event.choice}: token {event.at} came where {expected} was to come"))
            return
        self.positions[event.choice] += len(event.token_ids)
        if not self._merge(event):
            delta = Delta(event.token_ids, event.text, event.finish_reason, event.logprobs)
            self.pending.append(Entry(event.choice, event.at, delta))

    def _merge(self, event: Tokens) -> bool:
        """Join the newest unsent entry of this choice, where many wait already: while the gate is busy for long, frames
        get longer instead of more. Not where reasoning ends, so that its tokens can be counted, and are the same number
        however busy the gate was."""
        if len(self.pending) - self.sent < APART * len(self.positions):
            return False
        for index in range(len(self.pending) - 1, max(self.sent, len(self.pending) - len(self.positions)) - 1, -1):
            entry = self.pending[index]
            if entry.choice == event.choice and isinstance(entry.body, Delta):
                if entry.body.finish_reason is not None or may_turn(entry.body.text):
                    return False
                self.pending[index] = Entry(entry.choice, entry.at, _joined(entry.body, event))
                return True
        return False

    def finish(self, event: Finished) -> None:
        """All choices have ended by themselves."""
        self._end("finished", event.prompt_tokens, event.completion_tokens, event.cached_tokens)

    def finish_as(self, transcript: Transcript) -> None:
        """All choices had ended before an earlier attempt could say so."""
        admission = transcript.admission
        prompt, cached = (admission.prompt_tokens, admission.cached_tokens) if admission else (0, 0)
        self._end("finished", prompt, transcript.completion_tokens, cached)

    def fail(self, error: Exception, prompt_tokens: int = 0) -> None:
        """It ended otherwise. What an unexpected error says is for the log, not for clients."""
        told = error if isinstance(error, AgonError) else EngineFailed("the model failed on this request")
        admission = self._admission()
        prompt = prompt_tokens or (admission.prompt_tokens if admission else 0)
        cached = admission.cached_tokens if admission else 0
        self._end(status_of(told), prompt, sum(self.positions), cached, told)

    def _end(self, status: Status, prompt: int, completion: int, cached: int, error: AgonError | None = None) -> None:
        if self.ending:
            return
        self.ending = True
        told = error.body() if error else None
        end = End(
            status=status,
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            at=time.time(),
            error_message=told["message"] if told else None,
            error_type=told["type"] if told else None,
            error_code=told["code"] if told else None,
            error_param=told["param"] if told else None,
        )
        self.pending.append(Entry(0, self.positions[0] if self.positions else 0, end))

    def _admission(self) -> Admission | None:
        bodies = (entry.body for entry in (*self.written[:1], *self.pending[:1]))
        return next((body for body in bodies if isinstance(body, Admission)), None)

    # What the gate answers

    def send(self) -> Sequence[Entry]:
        """All that is pending, for one append."""
        self.sent = len(self.pending)
        return tuple(self.pending)

    def accepted(self) -> None:
        """What was sent is on the list."""
        self.written += self.pending[: self.sent]
        del self.pending[: self.sent]
        self.sent = 0
        self.rewriting = False

    def rewrite(self) -> None:
        """The list is shorter than it was known to be: everything is to be written again, from the beginning."""
        self.pending[:0] = self.written
        self.written = []
        self.sent = 0
        self.rewriting = True

    def cut_off(self, error: AgonError) -> None:
        """The gate takes nothing but an end from here on: what was not accepted has never been said."""
        self.pending.clear()
        self.sent = 0
        self.ending = False
        self.positions = [len(said.token_ids) for said in self.transcript().said]
        self.fail(error)


def status_of(error: AgonError) -> Status:
    """How a request ends that ends with this error."""
    if isinstance(error, Cancelled):
        return "cancelled"
    return "expired" if isinstance(error, Expired) else "failed"


def _joined(delta: Delta, event: Tokens) -> Delta:
    """Both as one delta."""
    logprobs = None if event.logprobs is None else (delta.logprobs or ()) + event.logprobs
    token_ids, text = delta.token_ids + event.token_ids, delta.text + event.text
    return Delta(token_ids, text, event.finish_reason, logprobs or delta.logprobs, delta.prompt_logprobs)
