"""Log-probabilities as frames carry them become those that readers of messages and OpenAI's clients know. Pure."""

from collections.abc import Iterable

from agon.engine.events import Alternative, TokenLogprob
from agon.messages import ChoiceLogprobs, PromptLogprob, TopLogprob
from agon.messages import TokenLogprob as Told


def choice_logprobs(tokens: Iterable[TokenLogprob]) -> ChoiceLogprobs:
    """Of an answer's tokens."""
    return ChoiceLogprobs(
        content=tuple(
            Told(token=t.token, logprob=t.logprob or 0.0, bytes=_octets(t.data), top_logprobs=_top(t.top))
            for t in tokens
        )
    )


def prompt_logprobs(tokens: Iterable[TokenLogprob]) -> tuple[PromptLogprob, ...]:
    """Of a prompt's tokens."""
    return tuple(
        PromptLogprob(token=t.token, logprob=t.logprob, bytes=_octets(t.data), top_logprobs=_top(t.top)) for t in tokens
    )


def _top(alternatives: Iterable[Alternative]) -> tuple[TopLogprob, ...]:
    return tuple(TopLogprob(token=a.token, logprob=a.logprob, bytes=_octets(a.data)) for a in alternatives)


def _octets(data: bytes | None) -> tuple[int, ...] | None:
    return None if data is None else tuple(data)
