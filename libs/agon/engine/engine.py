"""The engine: requests in, events out, one step at a time.

A step reads what was submitted and cancelled, lets the scheduler plan, runs the model once on all planned tokens, and
draws a token for every sequence that has caught up. Requests join and leave between steps.
"""

import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch

from agon.engine.batch import Batch, build
from agon.engine.events import Admitted, Event, Failed, Finished, Tokens
from agon.engine.hub import resolve
from agon.engine.kv import KVCache
from agon.engine.model import LanguageModel
from agon.engine.pages import PagePool
from agon.engine.params import MIB, Limits, Prompt, Request, SamplingParams
from agon.engine.sampler import Row, sample
from agon.engine.scheduler import Piece, Scheduler
from agon.engine.sequence import Drawing, Group, Sequence
from agon.engine.tokenizer import Tokenizer
from agon.errors import AgonError, Cancelled, ContextTooLong, EngineFailed, Expired, InvalidRequest

_log = logging.getLogger(__name__)
_INTAKE = 32  # prompts encoded per step: a burst of new requests holds up running ones only so long


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to a prompt. `finish_reason` is `stop` or `length`."""

    text: str
    token_ids: list[int]
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What `generate` returns for a prompt. `text`, `token_ids` and `finish_reason` are the first choice's."""

    choices: list[Choice]
    usage: dict[str, int]

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def token_ids(self) -> list[int]:
        return self.choices[0].token_ids

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].finish_reason


class Engine:
    """Serves one model. `submit` and `cancel` may be called from any thread, the rest from one thread at a time."""

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, limits: Limits | None = None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.limits = limits = limits or Limits()
        wanted = min(limits.context_length or model.context_length, model.context_length)
        shape = model.cache_shape
        useful = limits.max_sequences * -(-wanted // limits.page_size)
        pages = shape.pages_within(limits.kv_cache_bytes, limits.page_size, useful)
        self.context_length = min(wanted, pages * limits.page_size)
        """The most tokens of prompt and answer together."""
        self.scheduler = Scheduler(PagePool(pages), limits)
        self._cache = KVCache(shape, pages, limits.page_size, model.device)
        self._end_ids = model.eos_ids | tokenizer.eos_ids
        self._defaults = model.generation_defaults
        self._inbox: deque[Request | str] = deque()  # requests to take and keys to cancel, in the order they came
        self._groups: dict[str, Group] = {}
        self._arrivals = 0
        torch.set_num_threads(limits.threads)
        _log.info(
            "the KV cache takes up to %.0f MiB: %d pages of %d tokens, context %d",
            self._cache.bytes / MIB, pages, limits.page_size, self.context_length,
        )  # fmt: skip

    @classmethod
    def from_pretrained(
        cls, source: str | Path, limits: Limits | None = None, *, dtype: str = "float32", device: str = "cpu"
    ) -> Self:
        """Load a transformers folder or a hub id. Raises `SetupError` when it cannot be served, with the reason."""
        folder = resolve(source)
        return cls(LanguageModel.from_pretrained(folder, dtype, device), Tokenizer.from_pretrained(folder), limits)

    @property
    def cache_used(self) -> float:
        """Share of the KV cache's pages in use, 0 to 1."""
        pool = self.scheduler.pool
        return 1 - pool.free / pool.count

    @property
    def counts(self) -> tuple[int, int]:
        """Requests that have sequences in the running batch, and all others that have not ended."""
        running = {sequence.key for sequence in tuple(self.scheduler.running)}
        known = len(self._groups) + sum(isinstance(entry, Request) for entry in tuple(self._inbox))
        return len(running), known - len(running)

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._inbox or self._groups)

    def submit(self, request: Request) -> None:
        """Take a request; all that comes of it, refusal included, are events of later steps. Exactly one of them is
        `Finished` or `Failed`. A request under a key that is still here ends the older one first, as `cancel` would."""
        self._inbox.append(request)

    def cancel(self, key: str) -> None:
        """End a request at the next step with `Failed(Cancelled)`. Unknown keys are ignored."""
        self._inbox.append(key)

    def generate(
        self, prompts: Rows[Prompt], params: SamplingParams | Rows[SamplingParams] | None = None
    ) -> list[Answer]:
        """Answer all prompts, in order: strings, lists of token ids, or chats; one `SamplingParams` or one for each.

        Raises the first error of any of them, such as `InvalidRequest`. Not while others step this engine.
        """
        each = [params or SamplingParams()] * len(prompts) if not isinstance(params, Rows) else list(params)
        if len(each) != len(prompts):
            raise InvalidRequest(
                f"{len(prompts)} prompts and {len(each)} sampling parameters: give one, or one for each"
            )
        for index, (prompt, wanted) in enumerate(zip(prompts, each, strict=True)):
            self.submit(Request(str(index), prompt, wanted))
        told: dict[str, list[Event]] = {str(index): [] for index in range(len(prompts))}
        while self.busy:
            for event in self.step():
                told[event.key].append(event)
        return [_answer(events, wanted.n) for events, wanted in zip(told.values(), each, strict=True)]

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Run the model once on as many tokens as the limits allow, and tell what happened. Never raises."""
        events: list[Event] = []
        self._intake(events)
        self._expire(events)
        pieces: list[Piece] = []
        try:
            pieces = self.scheduler.plan()
            if pieces:
                self._compute(pieces, events)
        except Exception:
            _log.exception("a step failed; its requests fail with it")
            # Without a plan nobody knows whose fault it was.
            keys = {piece.sequence.key for piece in pieces} or set(self._groups)
            for key in sorted(keys & self._groups.keys()):
                self._fail(key, EngineFailed("the model failed while it worked on this request"), events)
        return events

    def _intake(self, events: list[Event]) -> None:
        encoded = 0
        while self._inbox and encoded < _INTAKE:
            entry = self._inbox.popleft()
            key = entry if isinstance(entry, str) else entry.key
            self._fail(key, Cancelled("the request was cancelled"), events)
            if isinstance(entry, Request):
                encoded += 1
                self._take(entry, events)

    def _take(self, request: Request, events: list[Event]) -> None:
        prompt: list[int] = []
        try:
            prompt = self.tokenizer.encode(request.prompt, self.context_length)
            group = self._group(request, prompt)
            ended = self._replay(group)
        except AgonError as error:
            events.append(Failed(request.key, error, len(prompt)))
        except Exception:
            _log.exception("a prompt could not be encoded")
            events.append(Failed(request.key, InvalidRequest("the prompt could not be encoded", param="prompt")))
        else:
            self._groups[request.key] = group
            events.append(Admitted(request.key, group.prompt_tokens))
            events += ended
            if group.open:
                # The others share what the first one computes of the prompt.
                first, *group.waiting_for_prompt = group.open.values()
                self.scheduler.add(first)
            else:
                self._finish(group, events)

    def _group(self, request: Request, prompt: list[int]) -> Group:
        params = request.params
        room = self.context_length - len(prompt)
        if not prompt:
            raise InvalidRequest("the prompt has no tokens", param="prompt")
        for token in chain(prompt, *request.emitted):
            if not 0 <= token < self.model.vocabulary:
                raise InvalidRequest(
                    f"the token id {token} is not in the model's vocabulary of {self.model.vocabulary}", param="prompt"
                )
        if room < 1:
            raise ContextTooLong(
                f"the prompt has {len(prompt)} tokens, the model's context is {self.context_length} with the answer; "
                "shorten the prompt", param="messages" if not isinstance(request.prompt, str) else "prompt",
            )  # fmt: skip
        default = self._defaults
        greedy = default.get("do_sample") is False
        drawing = Drawing(
            temperature=_first(params.temperature, 0.0 if greedy else default.get("temperature"), 1.0),
            top_k=_first(params.top_k, default.get("top_k"), 0),
            top_p=_first(params.top_p, default.get("top_p"), 1.0),
            seed=secrets.randbits(63) if params.seed is None else params.seed,
            stop=tuple(params.stop),
            end_ids=frozenset() if params.ignore_eos else self._end_ids,
            limit=min(params.max_tokens or room, room),
        )
        self._arrivals += 1
        group = Group(request, len(prompt), {})
        for choice in range(params.n):
            order = (request.priority, self._arrivals, choice)
            emitted = request.emitted[choice] if choice < len(request.emitted) else ()
            group.completion_tokens += len(emitted)
            if choice >= len(request.ended) or request.ended[choice] is None:
                group.open[choice] = Sequence(request.key, choice, order, prompt, drawing)
        return group

    def _replay(self, group: Group) -> list[Event]:
        """Rebuild each choice from what earlier attempts emitted. A choice that this ends gets its last event only now:
        the earlier attempt did not live to tell."""
        events: list[Event] = []
        for choice, sequence in list(group.open.items()):
            emitted = group.request.emitted[choice] if choice < len(group.request.emitted) else ()
            for token in emitted:
                text = sequence.push(token, self.tokenizer)
                if sequence.finish_reason:
                    events.append(Tokens(sequence.key, choice, len(emitted), (), text, sequence.finish_reason))
                    del group.open[choice]
                    break
        return events

    def _expire(self, events: list[Event]) -> None:
        moment = time.time()
        late = [
            key for key, group in self._groups.items()
            if group.request.deadline is not None and group.request.deadline <= moment
        ]  # fmt: skip
        for key in late:
            self._fail(key, Expired("the request's deadline passed before its answer was complete"), events)

    def _compute(self, pieces: list[Piece], events: list[Event]) -> None:
        if dirty := self.scheduler.pool.take_dirty():
            self._cache.clear(dirty)
        batch = build(pieces, self._cache, self.model.dtype, self.model.device)
        logits = self.model.forward(batch.tokens, batch.positions, batch.keep, batch.paged)
        drawn = sample(logits, [_row(sequence) for sequence in batch.drawing]).tolist() if batch.drawing else []
        for piece in pieces:
            piece.sequence.computed += piece.count
        self._tell(batch, drawn, events)

    def _tell(self, batch: Batch, drawn: list[int], events: list[Event]) -> None:
        for sequence, token in zip(batch.drawing, drawn, strict=True):
            group = self._groups.get(sequence.key)
            if group is None:
                continue  # another choice of its request has just failed
            if token < 0:
                error = EngineFailed("the model's output for this request is not a number")
                self._fail(sequence.key, error, events)
                continue
            sequence.proved = sequence.computed
            for other in group.waiting_for_prompt:
                self.scheduler.fork(other, sequence)
            group.waiting_for_prompt = []
            at = sequence.answered
            try:
                text = sequence.push(token, self.tokenizer)
            except Exception:
                _log.exception("a token could not be decoded")
                self._fail(sequence.key, EngineFailed(f"the token {token} could not be decoded"), events)
                continue
            group.completion_tokens += 1
            events.append(Tokens(sequence.key, sequence.choice, at, (token,), text, sequence.finish_reason))
            if sequence.finish_reason:
                self.scheduler.remove(sequence)
                del group.open[sequence.choice]
                if not group.open:
                    self._finish(group, events)

    def _finish(self, group: Group, events: list[Event]) -> None:
        key = group.request.key
        del self._groups[key]
        events.append(Finished(key, group.prompt_tokens, group.completion_tokens))

    def _fail(self, key: str, error: AgonError, events: list[Event]) -> None:
        """End a request if it is here, and take back all that it holds."""
        group = self._groups.pop(key, None)
        if group is None:
            return
        for sequence in group.open.values():
            self.scheduler.remove(sequence)
        events.append(Failed(key, error, group.prompt_tokens, group.completion_tokens))


def _row(sequence: Sequence) -> Row:
    drawing = sequence.drawing
    return Row(drawing.temperature, drawing.top_k, drawing.top_p, drawing.seed, sequence.choice, sequence.answered)


def _first(*values: Any) -> Any:
    """The first value that is given."""
    return next(value for value in values if value is not None)


def _answer(events: list[Event], n: int) -> Answer:
    *_, last = events
    if isinstance(last, Failed):
        raise last.error
    texts = [""] * n
    tokens: list[list[int]] = [[] for _ in range(n)]
    reasons: list[str | None] = [None] * n
    for event in events:
        if isinstance(event, Tokens):
            texts[event.choice] += event.text
            tokens[event.choice] += event.token_ids
            reasons[event.choice] = event.finish_reason
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cached_tokens": 0}
    if isinstance(last, Finished):
        usage = {
            "prompt_tokens": last.prompt_tokens,
            "completion_tokens": last.completion_tokens,
            "total_tokens": last.prompt_tokens + last.completion_tokens,
            "cached_tokens": last.cached_tokens,
        }
    return Answer([Choice(*parts) for parts in zip(texts, tokens, reasons, strict=True)], usage)
