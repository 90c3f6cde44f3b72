"""A legacy completion, whole or as a stream."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agon.engine.events import TokenLogprob
from agon.errors import AgonError
from agon.stream.frames import Delta
from agon_ingress.asking.telling import Ends, Head, usage_of
from agon_ingress.completions.types import (
    Completion,
    CompletionChoice,
    CompletionChunk,
    CompletionChunkChoice,
    CompletionLogprobs,
)
from agon_ingress.http import sse


@dataclass(slots=True)
class Scores:
    """Where the tokens of one choice lie in its text: those told so far end at `offset`."""

    top: int
    offset: int = 0
    tokens: list[TokenLogprob] = field(default_factory=list)
    """Not told yet."""

    def tell(self) -> CompletionLogprobs | None:
        """What has come since the last time."""
        tokens, self.tokens = self.tokens, []
        if not tokens:
            return None
        offsets = []
        for token in tokens:
            offsets.append(self.offset)
            self.offset += len(token.token) if token.data is not None else 0
        return CompletionLogprobs(
            tokens=tuple(token.token for token in tokens),
            token_logprobs=tuple(token.logprob for token in tokens),
            top_logprobs=tuple(_top(token) for token in tokens) if self.top else None,
            text_offset=tuple(offsets),
        )


def _top(token: TokenLogprob) -> dict[str, float] | None:
    """The most probable ones, and the token itself; of two with the same text the more probable one."""
    if token.logprob is None:
        return None
    told = {one.token: one.logprob for one in reversed(token.top)}
    told = dict(reversed(told.items()))
    told.setdefault(token.token, token.logprob)
    return told


class Listening:
    """The choices' scores. A prompt's, where it is echoed, go in front of each of its `n` choices."""

    def __init__(self, choices: int, n: int, logprobs: int | None, *, echo: bool) -> None:
        self.choices = choices
        self._n = n
        self._echo = echo
        self.scores = None if logprobs is None else [Scores(logprobs) for _ in range(choices)]

    def hear(self, choice: int, delta: Delta) -> None:
        """Notes the scores."""
        if self.scores is None:
            return
        if delta.prompt_logprobs is not None and self._echo:
            first = choice - choice % self._n
            for one in self.scores[first : first + self._n]:
                one.tokens[:0] = delta.prompt_logprobs
        self.scores[choice].tokens.extend(delta.logprobs or ())

    def tell(self, choice: int) -> CompletionLogprobs | None:
        return None if self.scores is None else self.scores[choice].tell()


class WholeCompletion:
    """Collects the answers to all prompts."""

    def __init__(self, head: Head, listening: Listening) -> None:
        self._head = head
        self._listening = listening
        self._texts: list[list[str]] = [[] for _ in range(listening.choices)]
        self._reasons: list[str | None] = [None] * listening.choices

    def delta(self, choice: int, delta: Delta) -> None:
        self._listening.hear(choice, delta)
        self._texts[choice].append(delta.text)
        self._reasons[choice] = delta.finish_reason or self._reasons[choice]

    def body(self, ends: Ends) -> Completion:
        return Completion(
            id=self._head.id,
            created=self._head.created,
            model=self._head.model,
            system_fingerprint=self._head.fingerprint,
            choices=tuple(
                CompletionChoice(
                    index=index, text="".join(text), logprobs=self._listening.tell(index), finish_reason=reason
                )
                for index, (text, reason) in enumerate(zip(self._texts, self._reasons, strict=True))
            ),
            usage=usage_of(ends),
        )


class CompletionStream:
    """Writes the chunks; a chunk's tokens may be more than its text shows, which then follows."""

    def __init__(self, head: Head, listening: Listening, *, include_usage: bool) -> None:
        self._listening = listening
        self._include_usage = include_usage
        self._empty = CompletionChunk(
            id=head.id, created=head.created, model=head.model, system_fingerprint=head.fingerprint, choices=()
        )

    def begin(self) -> bytes:
        return b""

    def delta(self, choice: int, delta: Delta) -> bytes:
        self._listening.hear(choice, delta)
        if not delta.text and delta.finish_reason is None:
            return b""
        told = CompletionChunkChoice(
            index=choice,
            text=delta.text,
            logprobs=self._listening.tell(choice),
            finish_reason=delta.finish_reason,
        )
        return self._event((told,), None)

    def end(self, ends: Ends) -> bytes:
        return (self._event((), ends) if self._include_usage else b"") + sse.DONE

    def error(self, error: AgonError) -> bytes:
        return sse.error_event(error)

    def _event(self, choices: Sequence[CompletionChunkChoice], ends: Ends | None) -> bytes:
        usage = None if ends is None else usage_of(ends)
        chunk = self._empty.model_copy(update={"choices": tuple(choices), "usage": usage})
        left_out = None if self._include_usage else {"usage"}
        return b"data: " + chunk.model_dump_json(exclude=left_out).encode() + b"\n\n"
