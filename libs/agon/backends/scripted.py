"""A backend that tells a script: deterministic, without a model, for tests, demos and measurements of all around it.

What it says is a pure function of the request (and of the choice's number), so an answer that is resumed elsewhere goes
on exactly. Tokens are words with the space behind them; a token's id is the CRC-32 of its text, cut to 31 bits. Since a
script knows what comes next, each token's log-probability is 0, and what shapes a draw (temperature, penalties, bias)
changes nothing. The options are those of `agon.backends.script`.
"""

import hashlib
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import ValidationError

from agon.backends.base import Admitted, Event, Failed, Finished, Job, Load, Scored, Tokens, refuse
from agon.backends.script import SAME, Options, inputs, pieces, token_id, until_stop, words
from agon.engine.events import Alternative, TokenLogprob
from agon.engine.turns import room_for_prompt, without_oldest
from agon.errors import (
    AgonError,
    Cancelled,
    ContextTooLong,
    EngineFailed,
    Expired,
    InvalidRequest,
    SetupError,
    UnsupportedParameter,
)
from agon.messages import ChatMessage, GenerationRequest, ModelCard, now
from agon.messages.formats import GrammarFormat, RegexFormat

_REFUSED = ("best_of", "stop_token_ids", "min_tokens")
_SAME_ID = token_id(SAME)


class _Choice:
    """One answer being told: what each of its tokens shows, and how far it is."""

    __slots__ = ("finish", "ids", "index", "position", "shown")

    def __init__(self, index: int, ids: Sequence[int], shown: Sequence[str], finish: str, position: int) -> None:
        self.index = index
        self.ids = ids
        self.shown = shown
        self.finish = finish
        self.position = position


class _Run:
    """A job in progress. `due` is when its next tokens may come, by the monotonic clock."""

    __slots__ = ("choices", "completed", "deadline", "due", "key", "options", "preface", "prompt_tokens", "top")

    def __init__(
        self,
        key: str,
        options: Options,
        choices: list[_Choice],
        prompt_tokens: int,
        deadline: float | None,
        top: int | None,
        preface: str,
    ) -> None:
        self.key = key
        self.preface = preface
        """Shown before each choice's text."""
        self.options = options
        self.top = top
        """How many alternatives each token's log-probability comes with; None where nobody asked for them."""
        self.choices = choices
        self.prompt_tokens = prompt_tokens
        self.completed = 0
        self.deadline = deadline
        self.due = 0.0


class ScriptedBackend:
    """A `SteppedBackend`: each step gives `per_step` tokens to every choice that is due."""

    resumable = True

    def __init__(self, model: str, options: Options | None = None) -> None:
        self._options = options or Options()
        self._inbox: deque[Job | str] = deque()  # jobs to take and keys to cancel, in the order they came
        self._waiting: dict[str, Job] = {}
        self._running: dict[str, _Run] = {}
        settings = json.dumps(self._options.model_dump(), sort_keys=True).encode()
        self._card = ModelCard(
            model=model,
            digest=f"sha256:{hashlib.sha256(settings).hexdigest()}",
            backend="scripted",
            description="A script, not a model.",
            context_length=self._options.context,
            tool_format="hermes",
            reasoning="think" if self._options.reasoning is not None or self._options.steered else None,
            created_at=now(),
        )

    @classmethod
    def from_options(cls, model: str, options: Mapping[str, str]) -> Self:
        """Read options as they are spelled in settings. Raises `SetupError` that names each wrong one."""
        try:
            return cls(model, Options.read(options))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise SetupError(f"the script of {model} has wrong options: {wrong}") from error

    @property
    def card(self) -> ModelCard:
        return self._card

    def submit(self, job: Job) -> None:
        self._inbox.append(job)

    def cancel(self, key: str) -> None:
        self._inbox.append(key)

    def load(self) -> Load:
        queued = sum(isinstance(entry, Job) for entry in tuple(self._inbox))
        return Load(len(self._running), len(self._waiting) + queued, self._options.capacity)

    def idle_for(self) -> float | None:
        if self._inbox or (self._waiting and len(self._running) < self._options.capacity):
            return 0.0
        if not self._running:
            return None
        return max(0.0, min(run.due for run in self._running.values()) - time.monotonic())

    def step(self) -> Sequence[Event]:
        events: list[Event] = []
        self._read_inbox(events)
        while self._waiting and len(self._running) < self._options.capacity:
            self._start(self._waiting.pop(next(iter(self._waiting))), events)
        moment = time.monotonic()
        for run in [run for run in self._running.values() if run.due <= moment]:
            self._advance(run, moment, events)
        return events

    def _read_inbox(self, events: list[Event]) -> None:
        while self._inbox:
            entry = self._inbox.popleft()
            key = entry if isinstance(entry, str) else entry.key
            # A job under a key that is still here takes its place: the older one ends first, as after a cancel.
            if run := self._running.pop(key, None):
                events.append(_failed(run, Cancelled("the request was cancelled")))
            elif self._waiting.pop(key, None):
                events.append(Failed(key, Cancelled("the request was cancelled")))
            if isinstance(entry, Job):
                self._waiting[key] = entry

    def _start(self, job: Job, events: list[Event]) -> None:
        request = _shortened(job.request, self._options.context)
        prompt_tokens = sum(len(pieces(text)) for text in inputs(request))
        try:
            if request.kind == "embedding":
                raise InvalidRequest("a script has no embeddings", param="kind")
            refuse(request, _REFUSED)
            if isinstance(request.response_format, RegexFormat | GrammarFormat):
                told = "response_format: a script follows JSON schemas and choices, no patterns and grammars"
                raise UnsupportedParameter(told, param="response_format")
            options = self._options.steer(request)
            room = self._options.context - prompt_tokens
            if room < 1:
                raise ContextTooLong(
                    f"the prompt has {prompt_tokens} tokens, the context is {self._options.context} with the answer; "
                    "shorten the prompt",
                    param="messages",
                )
            choices = [
                _choice(options, request, index, room, len(job.emitted[index]) if index < len(job.emitted) else 0)
                for index in range(request.n)
                if index >= len(job.ended) or job.ended[index] is None
            ]
        except AgonError as error:
            events.append(Failed(job.key, error, prompt_tokens))
            return
        deadline = None
        if request.deadline:
            deadline = time.monotonic() + (request.deadline - now()).total_seconds()
        top = request.top_logprobs or 0 if request.logprobs else None
        preface = inputs(request)[0] if request.echo else ""
        run = _Run(job.key, options, choices, prompt_tokens, deadline, top, preface)
        run.completed = sum(map(len, job.emitted))
        run.due = time.monotonic() + options.first_delay
        self._running[job.key] = run
        events.append(Admitted(job.key, prompt_tokens))
        if request.prompt_logprobs is not None:
            events.append(Scored(job.key, _scores(inputs(request), request.prompt_logprobs)))

    def _advance(self, run: _Run, moment: float, events: list[Event]) -> None:
        options = run.options
        if run.deadline is not None and run.deadline <= moment:
            del self._running[run.key]
            events.append(_failed(run, Expired("the request's deadline passed before its answer was complete")))
            return
        for choice in run.choices:
            at = choice.position
            if options.fail_at is not None and at >= options.fail_at:
                del self._running[run.key]
                events.append(_failed(run, EngineFailed(f"the script fails at token {options.fail_at}")))
                return
            end = min(at + options.per_step, len(choice.ids))
            if options.fail_at is not None:
                end = min(end, options.fail_at)
            finish = choice.finish if end == len(choice.ids) else None
            ids = tuple(choice.ids[at:end])
            shown = choice.shown[at:end]
            logprobs = None if run.top is None else tuple(_certain(piece, run.top) for piece in shown)
            text = "".join(shown) if at else run.preface + "".join(shown)
            events.append(Tokens(run.key, choice.index, at, ids, text, finish, logprobs))
            run.completed += end - at
            choice.position = end
        run.choices = [choice for choice in run.choices if choice.position < len(choice.ids)]
        if run.choices:
            # All choices share one beat, as in a model's batch. Late steps are not made up for: no burst after a pause.
            delay = options.delay
            run.due = (moment // delay + 1) * delay if delay else 0.0
        else:
            del self._running[run.key]
            events.append(Finished(run.key, run.prompt_tokens, run.completed))


def _shortened(request: GenerationRequest, context: int) -> GenerationRequest:
    """With as many of its newest turns as fit, where that is wanted."""
    if not (request.truncate and request.messages):
        return request
    most = room_for_prompt(context, request.limit)

    def fits(messages: Sequence[ChatMessage]) -> bool:
        return sum(len(pieces(message.text())) for message in messages) <= most

    messages = without_oldest(request.messages, lambda message: message.role, fits)
    return request.model_copy(update={"messages": tuple(messages)})


def _choice(options: Options, request: GenerationRequest, index: int, room: int, position: int) -> _Choice:
    limit = room if request.limit is None else min(request.limit, room)
    if options.uniform and not request.stop:
        assert options.tokens is not None
        count = limit if request.ignore_eos and request.limit is not None else options.tokens
        length = min(count, limit)
        finish = "stop" if count <= limit else "length"
        return _Choice(index, [_SAME_ID] * length, [SAME] * length, finish, min(position, length))
    told, finish = words(options, request, index, limit)
    shown = until_stop(told, request.stop)
    if len(shown) < len(told) or "".join(shown) != "".join(told):
        told, finish = told[: len(shown)], "stop"
    return _Choice(index, [token_id(word) for word in told], shown, finish, min(position, len(told)))


def _scores(said: Sequence[str], top: int) -> tuple[TokenLogprob, ...]:
    """The prompt's tokens: of the first nothing came before."""
    first, *rest = [piece for text in said for piece in pieces(text)] or [""]
    return TokenLogprob(first, None, first.encode()), *(_certain(piece, top) for piece in rest)


def _certain(piece: str, top: int) -> TokenLogprob:
    data = piece.encode()
    return TokenLogprob(piece, 0.0, data, (Alternative(piece, 0.0, data),) if top else ())


def _failed(run: _Run, error: AgonError) -> Failed:
    return Failed(run.key, error, run.prompt_tokens, run.completed)
