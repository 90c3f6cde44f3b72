"""What `Engine.generate` returns: the events of a request, put together."""

from collections.abc import Iterable
from dataclasses import dataclass

from agon.engine.events import Event, Failed, Finished, Scored, TokenLogprob, Tokens


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to a prompt. `finish_reason` is `stop` or `length`."""

    text: str
    token_ids: list[int]
    finish_reason: str | None
    logprobs: list[TokenLogprob] | None = None
    """One for each token, where asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What `generate` returns for a prompt. `text`, `token_ids` and `finish_reason` are the first choice's."""

    choices: list[Choice]
    usage: dict[str, int]
    prompt_logprobs: list[TokenLogprob] | None = None
    """One for each token of the prompt, where asked for."""

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def token_ids(self) -> list[int]:
        return self.choices[0].token_ids

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].finish_reason


def answer_of(events: Iterable[Event], n: int) -> Answer:
    """All events of a request that has ended, put together. Raises the error of one that failed."""
    texts = [""] * n
    tokens: list[list[int]] = [[] for _ in range(n)]
    reasons: list[str | None] = [None] * n
    usage: dict[str, int] = {}
    logprobs: list[list[TokenLogprob] | None] = [None] * n
    prompt_logprobs: list[TokenLogprob] | None = None
    for event in events:
        if isinstance(event, Tokens):
            texts[event.choice] += event.text
            tokens[event.choice] += event.token_ids
            reasons[event.choice] = event.finish_reason
            if event.logprobs is not None:
                so_far = logprobs[event.choice] = logprobs[event.choice] or []
                so_far += event.logprobs
        elif isinstance(event, Scored):
            prompt_logprobs = list(event.logprobs)
        elif isinstance(event, Failed):
            raise event.error
        elif isinstance(event, Finished):
            usage = {
                "prompt_tokens": event.prompt_tokens,
                "completion_tokens": event.completion_tokens,
                "total_tokens": event.prompt_tokens + event.completion_tokens,
                "cached_tokens": event.cached_tokens,
            }
    choices = [Choice(*parts) for parts in zip(texts, tokens, reasons, logprobs, strict=True)]
    return Answer(choices, usage, prompt_logprobs)
