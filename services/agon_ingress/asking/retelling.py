"""A recorded completion becomes the answer that HTTP would have given: it is told again as the frames that it came in,
as far as they matter. Pure."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel

from agon.engine.events import Alternative, TokenLogprob
from agon.errors import GenerationError
from agon.messages import GenerationCompleted, PromptLogprob, TopLogprob
from agon.messages import TokenLogprob as Told
from agon.stream.frames import Delta, End
from agon_ingress.asking.telling import Whole
from agon_ingress.http.errors import from_end

_THOUGHT = "</think>"


def retell(
    whole: Whole, completions: Sequence[GenerationCompleted], choices: int, renamed: Mapping[str, str] = {}
) -> BaseModel:
    """The body of an answer whose requests, of so many choices each, ended like this. Raises the error of one that did
    not finish, or whose text is lost."""
    ends = []
    for index, completion in enumerate(completions):
        ends.append(end_of(completion, renamed))
        for delta_of, delta in _deltas(completion):
            whole.delta(index * choices + delta_of, delta)
    return whole.body(ends)


def end_of(completion: GenerationCompleted, renamed: Mapping[str, str] = {}) -> End:
    """How it ended. Raises the error of one that did not finish."""
    end = final_of(completion)
    if completion.status != "finished":
        raise from_end(end, renamed)
    if completion.text_omitted:
        raise GenerationError("The answer was too large to be kept.", code="answer_too_large")
    return end


def final_of(completion: GenerationCompleted) -> End:
    """The final frame that its worker wrote."""
    usage, error = completion.usage, completion.error
    return End(
        completion.status,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        completion.timings.finished_at.timestamp(),
        *(() if error is None else (error.message, error.type, error.code, error.param)),
    )


def _deltas(completion: GenerationCompleted) -> Iterator[tuple[int, Delta]]:
    """By choice. Reasoning comes first and by itself: only then are its tokens counted, and its log-probabilities
    told apart."""
    if completion.prompt_logprobs is not None:
        yield 0, Delta((), "", prompt_logprobs=tuple(map(_token, completion.prompt_logprobs)))
    thought = completion.usage.reasoning_tokens or 0
    for choice in completion.choices:
        text = choice.message.content or "" if choice.raw is None else choice.raw
        logprobs = None if choice.logprobs is None else tuple(map(_token, choice.logprobs.content))
        if choice.message.reasoning and thought:
            reasoning, closed, text = text.partition(_THOUGHT)
            behind = _reach(logprobs or (), reasoning + closed)
            yield choice.index, Delta((0,) * thought, reasoning + closed, None, logprobs and logprobs[:behind])
            logprobs = logprobs and logprobs[behind:]
            thought = 0
        yield choice.index, Delta((), text, choice.finish_reason, logprobs)


def _reach(tokens: Sequence[TokenLogprob], text: str) -> int:
    """How many of the first tokens make up a text."""
    lengths = itertools.accumulate(len(token.token) for token in tokens)
    return next((count for count, length in enumerate(lengths, 1) if length >= len(text)), len(tokens))


def _token(told: PromptLogprob | Told) -> TokenLogprob:
    return TokenLogprob(told.token, told.logprob, _data(told), tuple(map(_alternative, told.top_logprobs)))


def _alternative(told: TopLogprob) -> Alternative:
    return Alternative(told.token, told.logprob, _data(told))


def _data(told: PromptLogprob | TopLogprob) -> bytes | None:
    return None if told.bytes is None else bytes(told.bytes)
