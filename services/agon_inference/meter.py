"""How fast a model answers, as the metrics tell it."""

from agon.backends import Load, Times, Tokens
from agon.telemetry import Metrics
from agon_inference.held import Held


class Meter:
    """Of one model. Its metrics are looked up once: this is called for every token."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._prompt = metrics.counter("prompt_tokens").labels(model)
        self._generated = metrics.counter("generation_tokens").labels(model)
        self._first = metrics.histogram("time_to_first_token_seconds").labels(model)
        self._queue = metrics.histogram("request_queue_time_seconds").labels(model)
        self._prefill = metrics.histogram("request_prefill_time_seconds").labels(model)
        self._decode = metrics.histogram("request_decode_time_seconds").labels(model)
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

    def finished(self, times: Times) -> None:
        """An engine has finished a request, which took it so long."""
        self._queue.observe(times.queue)
        self._prefill.observe(times.prefill)
        self._decode.observe(times.decode)


class LoadMeter:
    """What one model's backend holds, and what it has counted since the last look."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._running = metrics.gauge("num_requests_running").labels(model)
        self._waiting = metrics.gauge("num_requests_waiting").labels(model)
        self._cache = metrics.gauge("kv_cache_usage_perc").labels(model)
        self._queries = metrics.counter("prefix_cache_queries").labels(model)
        self._hits = metrics.counter("prefix_cache_hits").labels(model)
        self._preemptions = metrics.counter("num_preemptions").labels(model)
        self._kept = metrics.gauge("guides_kept").labels(model)
        self._asked = metrics.counter("guides_asked").labels(model)
        self._compiled = metrics.counter("guides_compiled").labels(model)
        self._last = Load(0, 0, 0)

    def look(self, load: Load) -> None:
        self._running.set(load.running)
        self._waiting.set(load.waiting)
        self._cache.set(load.cache_used)
        self._queries.inc(load.prefix_queries - self._last.prefix_queries)
        self._hits.inc(load.prefix_hits - self._last.prefix_hits)
        self._preemptions.inc(load.preemptions - self._last.preemptions)
        self._kept.set(load.guides_kept)
        self._asked.inc(load.guides_asked - self._last.guides_asked)
        self._compiled.inc(load.guides_compiled - self._last.guides_compiled)
        self._last = load
