"""How fast a model answers, as the metrics tell it."""

from agon.backends import Tokens
from agon.telemetry import Metrics
from agon_inference.held import Held


class Meter:
    """Of one model. Its metrics are looked up once: this is called for every token."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._prompt = metrics.counter("prompt_tokens").labels(model)
        self._generated = metrics.counter("generation_tokens").labels(model)
        self._first = metrics.histogram("time_to_first_token_seconds").labels(model)
        self._between = metrics.histogram("inter_token_latency_seconds").labels(model)

    def prompt(self, tokens: int) -> None:
        """A prompt was admitted."""
        self._prompt.inc(tokens)

    def tokens(self, held: Held, event: Tokens, moment: float) -> None:
        """New tokens came at this moment, in epoch seconds. A resumed answer's first ones are the first of nothing."""
        self._generated.inc(len(event.token_ids))
        if held.last_token_at is not None:
            self._between.observe(moment - held.last_token_at)
        elif not any(entry.tokens for entry in held.written):
            held.first_token_at = moment
            self._first.observe(moment - held.identity.accepted_at.timestamp())
        held.last_token_at = moment
