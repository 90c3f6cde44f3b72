"""The engine: requests in, events out, one step at a time.

A step reads what was submitted and cancelled, lets the scheduler plan, runs the model once on all planned tokens, and
draws a token for every sequence that has caught up. Requests join and leave between steps.
"""

import logging
import time
from collections.abc import Sequence as Rows
from itertools import chain
from pathlib import Path
from typing import Self

import torch

from agon.engine.adapter import Adapter, read_adapter
from agon.engine.answers import Answer
from agon.engine.arrivals import Arrival, Arrivals
from agon.engine.events import Admitted, Event, Failed, Finished, Scored, Times, TokenLogprob, Tokens
from agon.engine.grammars import Grammars
from agon.engine.hub import resolve
from agon.engine.intake import Intake
from agon.engine.logprobs import answer_logprobs, score_prompt
from agon.engine.model import LanguageModel
from agon.engine.offline import generate
from agon.engine.pages import PagePool
from agon.engine.params import MIB, Limits, Prompt, Request
from agon.engine.ranks import Ranks
from agon.engine.runner import Runner, dtype_for, limits_for
from agon.engine.sampler import Row, sample
from agon.engine.sampling import SamplingParams
from agon.engine.scheduler import Piece, Scheduler
from agon.engine.sequence import Group, Sequence
from agon.engine.shaping import shaped
from agon.engine.tokenizer import Tokenizer
from agon.errors import AgonError, Cancelled, EngineFailed, Expired, InvalidRequest, ModelNotFound, SetupError

_log = logging.getLogger(__name__)
_PREPARING = 0.01  # seconds to wait for a prompt or a grammar when there is nothing else to do
_FAILED = "the model failed while it worked on this request"
_NAN = "the model's output for this request is not a number"


class Engine:
    """Serves one model. `submit` and `cancel` may be called from any thread, the rest from one thread at a time."""

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, limits: Limits | None = None, ranks: Ranks | None = None
    ) -> None:
        """`ranks` have the other parts of a model that is shared out: `from_pretrained` starts them.

        Raises `SetupError` when the limits are too narrow for the model.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.limits = limits = limits_for(model.device.type, limits or Limits())
        self._runner = Runner(model, limits, ranks)
        self._ranks = ranks
        self.context_length = self._runner.context_length
        """The most tokens of prompt and answer together."""
        pages = self._runner.cache.pages
        self.scheduler = Scheduler(PagePool(pages), limits)
        self._adapters: dict[str, Adapter] = {}
        self.grammars = Grammars(tokenizer, model.vocabulary)
        self._intake = Intake(model, tokenizer, self.grammars, self.context_length)
        self._arrivals = Arrivals(tokenizer, self.grammars, self.context_length)
        self._groups: dict[str, Group] = {}
        _log.info(
            "the KV cache takes up to %.0f MiB: %d pages of %d tokens, context %d",
            self.cache_bytes / MIB, pages, limits.page_size, self.context_length,
        )  # fmt: skip

    @classmethod
    def from_pretrained(
        cls, source: str | Path, limits: Limits | None = None, *, dtype: str | None = None, device: str = "cpu"
    ) -> Self:
        """Load a transformers folder or a hub id; in `float32` on the CPU and `bfloat16` on a GPU, unless told.

        `Limits.tensor_parallel` processes share the model's layers, one on each GPU from `device` on; they end with
        this one, or by `close`. Raises `SetupError` when it cannot be served, with the reason.
        """
        folder, limits = resolve(source), limits or Limits()
        dtype = dtype or dtype_for(device)
        tokenizer = Tokenizer.from_pretrained(folder)
        if limits.tensor_parallel == 1:
            return cls(LanguageModel.from_pretrained(folder, dtype, device), tokenizer, limits)
        ranks = Ranks(folder, dtype, device, limits)
        try:
            return cls(ranks.load(), tokenizer, limits, ranks)
        except BaseException:
            ranks.close()
            raise

    def close(self) -> None:
        """End the other processes of a model that is shared out. Nothing can be computed any more."""
        if self._ranks:
            self._ranks.close()

    @property
    def lost(self) -> str | None:
        """Why nothing can be computed any more; None while all is well."""
        return self._ranks.lost if self._ranks else None

    @property
    def cache_bytes(self) -> int:
        """What the KV cache takes of the memory when all of it is in use."""
        return self._runner.cache.bytes

    @property
    def cache_used(self) -> float:
        """Share of the KV cache's pages in use, 0 to 1."""
        pool = self.scheduler.pool
        return 1 - pool.free / pool.count

    @property
    def counts(self) -> tuple[int, int]:
        """Requests that have sequences in the running batch, and all others that have not ended."""
        running = {sequence.key for sequence in tuple(self.scheduler.running)}
        known = len(self._groups) + self._arrivals.count
        # Another thread may step meanwhile: what has just ended is in the one number and not in the other.
        return len(running), max(0, known - len(running))

    @property
    def busy(self) -> bool:
        """Whether anything is here that has not ended, or is to be told so."""
        return bool(self._groups or self._arrivals)

    @property
    def preparing(self) -> bool:
        """Whether nothing can be done before another thread has encoded a prompt or compiled a grammar: a step would
        wait for it a while."""
        return not self._groups and bool(self._arrivals) and not self._arrivals.stirred

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters that requests may ask for."""
        return tuple(self._adapters)

    def load_adapter(self, name: str, folder: str | Path) -> None:
        """Let requests ask for the LoRA adapter in a folder of peft's under this name, instead of another that had it.

        Reads it at once; may be called from any thread. Raises `SetupError` with the reason when it cannot be served.
        """
        if self._ranks:
            raise SetupError(f"the adapter {name} is not served: its base is shared by processes (tensor_parallel)")
        adapter = read_adapter(name, Path(folder).expanduser(), self.model.linears, self.limits.adapter_rank)
        self._adapters[name] = adapter

    def drop_adapter(self, name: str) -> None:
        """Take no more requests for an adapter; those it has go on to their end. Raises `ModelNotFound`."""
        if self._adapters.pop(name, None) is None:
            raise ModelNotFound(f"there is no adapter {name}")

    def submit(self, request: Request) -> None:
        """Take a request; all that comes of it, refusal included, are events of later steps. Exactly one of them is
        `Finished` or `Failed`. A request under a key that is still here ends the older one first, as `cancel` would."""
        self._arrivals.submit(request, self.scheduler.clock)

    def cancel(self, key: str) -> None:
        """End a request at the next step with `Failed(Cancelled)`. Unknown keys are ignored."""
        self._arrivals.cancel(key)

    def generate(
        self,
        prompts: Rows[Prompt],
        params: SamplingParams | Rows[SamplingParams] | None = None,
        *,
        progress: bool = True,
    ) -> list[Answer]:
        """Answer all prompts, in order: strings, lists of token ids, or chats; one `SamplingParams` or one for each.

        Shows a bar meanwhile, where standard error is a terminal. Raises the first error of any of them, such as
        `InvalidRequest`. Not while others step this engine.
        """
        return generate(self, prompts, params, progress=progress)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Run the model once on as many tokens as the limits allow, and tell what happened. Never raises."""
        events: list[Event] = []
        self._read_arrivals(events)
        self._expire(events)
        pieces: list[Piece] = []
        try:
            pieces = self.scheduler.plan()
            if pieces:
                self._compute(pieces, events)
            elif self.preparing:
                self._arrivals.wait(_PREPARING)
        except Exception as error:
            _log.exception("a step failed; its requests fail with it")
            failed = error if isinstance(error, EngineFailed) else EngineFailed(_FAILED)
            # Without a plan nobody knows whose fault it was.
            keys = {piece.sequence.key for piece in pieces} or set(self._groups)
            for key in sorted(keys & self._groups.keys()):
                self._fail(key, failed, events, dirty=True)
        if not self._groups:
            self._runner.rest()
        return events

    def _read_arrivals(self, events: list[Event]) -> None:
        for entry in self._arrivals.read():
            if isinstance(entry, Arrival):
                self._take(entry, events)
            else:
                self._fail(entry, Cancelled("the request was cancelled"), events)

    def _take(self, arrival: Arrival, events: list[Event]) -> None:
        request, prompt = arrival.request, list[int]()
        try:
            prompt = arrival.prompt.result()
            adapter = self._adapter(request.adapter)
            group, ended = self._intake.open(request, prompt, adapter, arrival.grammar, arrival.at)
        except AgonError as error:
            events.append(Failed(request.key, error, len(prompt)))
        except Exception:
            _log.exception("a prompt could not be encoded")
            events.append(Failed(request.key, InvalidRequest("the prompt could not be encoded", param="prompt")))
        else:
            self._groups[request.key] = group
            found = len(self.scheduler.find(group.leader)) * self.limits.page_size if group.leader else 0
            events.append(Admitted(request.key, group.prompt_tokens, min(found, group.prompt_tokens)))
            events += ended
            if group.leader:
                self.scheduler.add(group.leader, arrival.clock)
            else:
                self._finish(group, events)

    def _adapter(self, name: str | None) -> Adapter | None:
        if name is None:
            return None
        if name not in self._adapters:
            raise ModelNotFound(f"there is no adapter {name}", param="model")
        return self._adapters[name]

    def _expire(self, events: list[Event]) -> None:
        moment = time.time()
        here = chain(
            (group.request for group in self._groups.values()), (arrival.request for arrival in self._arrivals.unready)
        )
        late = [request.key for request in here if request.deadline is not None and request.deadline <= moment]
        for key in late:
            self._fail(key, Expired("the request's deadline passed before its answer was complete"), events)

    def _compute(self, pieces: list[Piece], events: list[Event]) -> None:
        moment = time.monotonic()
        for piece in pieces:
            group = self._groups[piece.sequence.key]
            group.started_at = group.started_at or moment
        computed = self._runner.run(pieces, self.scheduler.pool.take_dirty())
        rows = [_row(sequence) for sequence in computed.drawing]
        logits = shaped(computed.logits, [sequence.shape for sequence in computed.drawing])
        drawn = sample(logits, rows).tolist() if rows else []
        logprobs = answer_logprobs(computed.logits, computed.drawing, drawn, self.tokenizer)
        for sequence, scores in computed.scoring:
            top = self._groups[sequence.key].request.params.prompt_logprobs
            score_prompt(scores, sequence, top or 0, self.tokenizer)
        for piece in computed.broken:
            self._fail(piece.sequence.key, EngineFailed(_NAN), events, dirty=True)
        for piece in pieces:
            if piece.sequence.key in self._groups:
                self.scheduler.advance(piece)
        self._tell(computed.drawing, drawn, logprobs, events)

    def _tell(
        self,
        drawing: Rows[Sequence],
        drawn: list[int],
        logprobs: list[tuple[TokenLogprob, ...] | None],
        events: list[Event],
    ) -> None:
        for sequence, token, scored in zip(drawing, drawn, logprobs, strict=True):
            group = self._groups.get(sequence.key)
            if group is None:
                continue  # it has just failed, or another choice of its request has
            if token < 0:
                trouble = sequence.shape.trouble if sequence.shape else None
                self._fail(sequence.key, trouble or EngineFailed(_NAN), events)
                continue
            if sequence.prompt_scores is not None:
                events.append(Scored(sequence.key, tuple(sequence.prompt_scores)))
                sequence.prompt_scores = None
            group.drawn_at = group.drawn_at or time.monotonic()
            if not sequence.drawing.limit:  # only the prompt was to be scored
                self.scheduler.remove(sequence)
                events += group.close_empty()
                self._finish(group, events)
                continue
            for other in group.followers:
                self.scheduler.add(other)
            group.followers = []
            at = sequence.answered
            try:
                text = sequence.push(token, self.tokenizer)
            except Exception:
                _log.exception("a token could not be decoded")
                self._fail(sequence.key, EngineFailed(f"the token {token} could not be decoded"), events)
                continue
            group.completion_tokens += 1
            told = Tokens(sequence.key, sequence.choice, at, (token,), text, sequence.finish_reason, scored)
            if group.contest is None:
                events.append(told)
            else:
                group.contest.add(told)
            if sequence.finish_reason:
                self.scheduler.remove(sequence)
                del group.open[sequence.choice]
                if not group.open:
                    self._finish(group, events)

    def _finish(self, group: Group, events: list[Event]) -> None:
        key = group.request.key
        del self._groups[key]
        if group.contest is not None:
            events += group.contest.result()
        times = None
        if group.started_at is not None and group.drawn_at is not None:
            first, drawn = group.started_at, group.drawn_at
            times = Times(first - group.arrived_at, drawn - first, time.monotonic() - drawn)
        events.append(Finished(key, group.prompt_tokens, group.completion_tokens, group.cached_tokens, times))

    def _fail(self, key: str, error: AgonError, events: list[Event], *, dirty: bool = False) -> None:
        """End a request if it is here, and take back all that it holds."""
        if self._arrivals.drop(key):
            events.append(Failed(key, error))
        group = self._groups.pop(key, None)
        if group is None:
            return
        for sequence in group.open.values():
            self.scheduler.remove(sequence, dirty=dirty)
        events.append(Failed(key, error, group.prompt_tokens, group.completion_tokens))


def _row(sequence: Sequence) -> Row:
    drawing = sequence.drawing
    return Row(
        drawing.temperature, drawing.top_k, drawing.top_p, drawing.seed, sequence.choice, sequence.answered,
        drawing.min_p, drawing.typical_p,
    )  # fmt: skip
