"""Every metric name, logging, and trace context.

Metric stems and buckets follow vLLM's where the thing is the same, so that boards made for it need one prefix changed.
"""

import json
import logging
import secrets
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_ITL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0)
_E2E = (0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 480.0)

MetricKind = Literal["counter", "gauge", "histogram"]

# name -> (kind, labels, buckets, what it counts). The name gets the prefix `agon_`; counters get `_total`.
METRICS: dict[str, tuple[MetricKind, tuple[str, ...], tuple[float, ...], str]] = {
    "requests": ("counter", ("model", "status"), (), "Requests that have ended, by how they ended"),
    "prompt_tokens": ("counter", ("model",), (), "Prompt tokens of admitted requests"),
    "generation_tokens": ("counter", ("model",), (), "Tokens generated"),
    "num_requests_running": ("gauge", ("model",), (), "Requests in the running batch"),
    "num_requests_waiting": ("gauge", ("model",), (), "Requests admitted but not in the batch yet"),
    "kv_cache_usage_perc": ("gauge", ("model",), (), "Share of the KV cache's pages in use, 0 to 1"),
    "prefix_cache_queries": ("counter", ("model",), (), "Tokens looked up in the prefix cache"),
    "prefix_cache_hits": ("counter", ("model",), (), "Tokens found in the prefix cache"),
    "num_preemptions": ("counter", ("model",), (), "Times that a running sequence gave its pages back"),
    "guides_kept": ("gauge", ("model",), (), "Forms of answers that are compiled and in memory"),
    "guides_asked": ("counter", ("model",), (), "Answers that were to follow a form"),
    "guides_compiled": ("counter", ("model",), (), "Forms of answers that were compiled"),
    "request_queue_time_seconds": ("histogram", ("model",), _E2E, "In the engine, until the request ran"),
    "request_prefill_time_seconds": ("histogram", ("model",), _E2E, "From there to its first token"),
    "request_decode_time_seconds": ("histogram", ("model",), _E2E, "From its first token to its last"),
    "time_to_first_token_seconds": ("histogram", ("model",), _TTFT, "From the request's record to its first token"),
    "inter_token_latency_seconds": ("histogram", ("model",), _ITL, "Between two steps of a running request"),
    "e2e_request_latency_seconds": ("histogram", ("model",), _E2E, "From the request's record to its end"),
    "dead_letters": ("counter", ("topic", "reason"), (), "Records that nobody could read, moved aside"),
    "duplicates_suppressed": ("counter", ("stage",), (), "Deliveries of something already done"),
    "gate_fenced": ("counter", ("model",), (), "Appends refused because another worker owns the request"),
    "resumed": ("counter", ("model",), (), "Requests taken over from a dead worker"),
    "in_flight": ("gauge", ("topic",), (), "Deliveries that are not finished yet"),
    "sse_open_streams": ("gauge", (), (), "Streams open to clients"),
    "stream_gaps": ("counter", (), (), "Times that frames were missing on the channel and were read from the list"),
    "http_requests": ("counter", ("method", "route", "status"), (), "HTTP requests answered"),
    "rows_forgotten": ("counter", ("table",), (), "Rows that were kept for clients until their time had passed"),
    "votes": ("counter", ("arena", "outcome", "counted"), (), "Votes judged"),
    "vote_ingest_seconds": ("histogram", (), _E2E, "From a vote's cast to its row"),
    "board_refit_seconds": ("histogram", ("arena",), _E2E, "From a counted vote to its live board"),
    "rating_staleness_seconds": ("gauge", ("arena",), (), "How long counted votes have been on no board yet"),
    "relay_watermark": ("gauge", ("arena",), (), "The last seq that the relay has published"),
}


class Metrics:
    """The metrics of one process: `metrics.counter("requests").labels(model, status).inc()`. Unknown names raise."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from prometheus_client import CollectorRegistry

        self.registry = registry or CollectorRegistry()
        self._made: dict[str, Any] = {}

    def counter(self, name: str) -> "Counter":
        return self._get(name, "counter")  # type: ignore[no-any-return]

    def gauge(self, name: str) -> "Gauge":
        return self._get(name, "gauge")  # type: ignore[no-any-return]

    def histogram(self, name: str) -> "Histogram":
        return self._get(name, "histogram")  # type: ignore[no-any-return]

    def _get(self, name: str, kind: MetricKind) -> Any:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name, kind)
        return made

    def _make(self, name: str, kind: MetricKind) -> Any:
        from prometheus_client import Counter, Gauge, Histogram

        declared, labels, buckets, meaning = METRICS[name]
        if declared != kind:
            raise TypeError(f"{name} is a {declared}, not a {kind}")
        if kind == "histogram":
            return Histogram(f"agon_{name}", meaning, labels, buckets=buckets, registry=self.registry)
        return {"counter": Counter, "gauge": Gauge}[kind](f"agon_{name}", meaning, labels, registry=self.registry)


class _JsonFormatter(logging.Formatter):
    """One object per line. `at` is RFC 3339 UTC, as every time of ours that a machine reads."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "at": at.replace("+00:00", "Z"),
            "process": self._process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(process: str, level: str = "INFO", style: str = "text") -> None:
    """Send this process' log to standard error, as text for people or as JSON lines for machines.

    Prompts and answers are never logged.
    """
    handler = logging.StreamHandler(sys.stderr)
    if style == "json":
        handler.setFormatter(_JsonFormatter(process))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s {process} %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # aiokafka says at each first use of a group that its coordinator is not there yet, as an error; it is no error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def new_traceparent() -> str:
    """A fresh W3C trace context: version 00, random trace and span ids, sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
