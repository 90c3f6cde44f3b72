"""A request becomes sequences: its prompt checked, its parameters filled in, what was emitted before rebuilt."""

import secrets
from itertools import chain
from typing import Any

from agon.engine.adapter import Adapter
from agon.engine.contest import Contest
from agon.engine.events import Tokens
from agon.engine.grammars import Grammar, Grammars
from agon.engine.logprobs import unscored
from agon.engine.model import LanguageModel
from agon.engine.pages import root_of
from agon.engine.params import Request, is_plain
from agon.engine.sampling import SamplingParams
from agon.engine.sequence import Drawing, Group, Sequence
from agon.engine.shaping import Penalties, Shape
from agon.engine.tokenizer import Tokenizer, too_long
from agon.errors import InvalidRequest


class Intake:
    """Takes requests for one model. All that it refuses is the request's own fault."""

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, grammars: Grammars, context_length: int) -> None:
        self.end_ids = model.eos_ids | tokenizer.eos_ids
        """The tokens that end an answer, unless it ignores them."""
        self._tokenizer = tokenizer
        self._grammars = grammars
        self._vocabulary = model.vocabulary
        self._defaults = model.generation_defaults
        self._temperature, self._top_p = model.drawing_defaults
        self._context_length = context_length
        self._arrivals = 0

    def open(
        self,
        request: Request,
        prompt: list[int],
        adapter: Adapter | None,
        grammar: Grammar | None,
        arrived_at: float,
    ) -> tuple[Group, list[Tokens]]:
        """The group of a request whose prompt is these tokens and whose guide is this grammar, and the last events of
        choices that an earlier attempt had ended without telling.

        Raises `InvalidRequest` or `ContextTooLong` for what cannot be served.
        """
        self._check(request, prompt)
        drawing = self._drawing(request, self._context_length - len(prompt))
        root = root_of(adapter.digest if adapter else None, request.salt)
        self._arrivals += 1
        params = request.params
        group = Group(request, len(prompt), {}, arrived_at)
        if params.drawn > params.n:
            told = params.logprobs is not None
            group.contest = Contest(request.key, params.drawn, params.n, request.ended, logprobs=told)
        preface = self._preface(request, prompt) if params.echo else ""
        for choice in range(params.drawn):
            order = (request.priority, self._arrivals, choice)
            if group.contest is None:
                group.completion_tokens += len(_emitted(request, choice))
                if choice < len(request.ended) and request.ended[choice] is not None:
                    continue
            shape = self._shape(params, prompt, drawing, grammar)
            group.open[choice] = Sequence(request.key, choice, order, prompt, drawing, root, adapter, shape, preface)
        if not drawing.limit and params.prompt_logprobs is None:
            return group, group.close_empty()
        ended = self._replay(group) if group.contest is None else []
        if group.open:
            group.leader, *group.followers = group.open.values()
            if params.prompt_logprobs is not None:
                group.leader.prompt_scores = [unscored(prompt[0], self._tokenizer)]
        return group, ended

    def _check(self, request: Request, prompt: list[int]) -> None:
        if not prompt:
            raise InvalidRequest("the prompt has no tokens", param="prompt")
        if len(prompt) >= self._context_length:
            raise too_long(len(prompt), self._context_length, "prompt" if is_plain(request.prompt) else "messages")
        params = request.params
        for param, tokens in (
            ("prompt", chain(prompt, *request.emitted)),
            ("logit_bias", params.logit_bias),
            ("stop_token_ids", params.stop_token_ids),
        ):
            for token in tokens:
                if not 0 <= token < self._vocabulary:
                    raise InvalidRequest(
                        f"the token id {token} is not in the model's vocabulary of {self._vocabulary}", param=param
                    )

    def _drawing(self, request: Request, room: int) -> Drawing:
        params, default = request.params, self._defaults
        return Drawing(
            temperature=_first(params.temperature, self._temperature),
            top_k=_first(params.top_k, default.get("top_k"), 0),
            top_p=_first(params.top_p, self._top_p),
            seed=secrets.randbits(63) if params.seed is None else params.seed,
            stop=tuple(params.stop),
            end_ids=frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else self.end_ids),
            limit=room if params.max_tokens is None else min(params.max_tokens, room),
            min_p=_first(params.min_p, default.get("min_p"), 0.0),
            typical_p=_first(params.typical_p, default.get("typical_p"), 1.0),
            # Best of needs them, too.
            logprobs=_first(params.logprobs, 0) if params.drawn > params.n else params.logprobs,
        )

    def _shape(
        self, params: SamplingParams, prompt: list[int], drawing: Drawing, grammar: Grammar | None
    ) -> Shape | None:
        repetition = _first(params.repetition_penalty, self._defaults.get("repetition_penalty"), 1.0)
        penalties = Penalties(repetition, params.presence_penalty, params.frequency_penalty)
        if penalties == Penalties() and not params.logit_bias and not params.min_tokens and grammar is None:
            return None
        matcher = self._grammars.matcher(grammar, drawing.end_ids) if grammar is not None else None
        return Shape(prompt, penalties, params.logit_bias, params.min_tokens, drawing.end_ids, matcher)

    def _preface(self, request: Request, prompt: list[int]) -> str:
        """The prompt's text: as it was given, or what its tokens say."""
        if isinstance(request.prompt, str):
            return request.prompt
        return b"".join(map(self._tokenizer.token_bytes, prompt)).decode("utf-8", "replace")

    def _replay(self, group: Group) -> list[Tokens]:
        """Rebuild each choice from what earlier attempts emitted. A choice that this ends gets its last event only now:
        the earlier attempt did not live to tell."""
        told: list[Tokens] = []
        for choice, sequence in list(group.open.items()):
            emitted = _emitted(group.request, choice)
            for token in emitted:
                text = sequence.push(token, self._tokenizer)
                if sequence.finish_reason:
                    told.append(Tokens(sequence.key, choice, len(emitted), (), text, sequence.finish_reason))
                    del group.open[choice]
                    break
        return told


def _emitted(request: Request, choice: int) -> tuple[int, ...]:
    return request.emitted[choice] if choice < len(request.emitted) else ()


def _first(*values: Any) -> Any:
    """The first value that is given."""
    return next(value for value in values if value is not None)
