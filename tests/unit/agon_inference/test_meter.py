"""What the metrics say of an engine's load and of its requests' time."""

from agon.backends import Load, Times
from agon.telemetry import Metrics
from agon_inference.meter import LoadMeter, Meter


def values(metrics: Metrics) -> dict[str, float]:
    return {
        sample.name.removeprefix("agon_"): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith(("_total", "_sum", "_perc", "_running", "_waiting", "_kept"))
    }


def test_counters_grow_by_what_was_counted_since_the_last_look() -> None:
    metrics = Metrics()
    meter = LoadMeter(metrics, "tiny")
    meter.look(
        Load(
            2,
            5,
            8,
            0.25,
            prefix_queries=100,
            prefix_hits=40,
            preemptions=1,
            guides_kept=1,
            guides_asked=4,
            guides_compiled=1,
        )
    )
    meter.look(
        Load(
            1,
            0,
            8,
            0.5,
            prefix_queries=150,
            prefix_hits=80,
            preemptions=1,
            guides_kept=2,
            guides_asked=9,
            guides_compiled=2,
        )
    )
    assert values(metrics) == {
        "num_requests_running": 1,
        "num_requests_waiting": 0,
        "kv_cache_usage_perc": 0.5,
        "prefix_cache_queries_total": 150,
        "prefix_cache_hits_total": 80,
        "num_preemptions_total": 1,
        "guides_kept": 2,
        "guides_asked_total": 9,
        "guides_compiled_total": 2,
    }


def test_a_finished_request_says_where_its_time_went() -> None:
    metrics = Metrics()
    Meter(metrics, "tiny").finished(Times(queue=0.5, prefill=0.25, decode=2.0))
    told = values(metrics)
    assert told["request_queue_time_seconds_sum"] == 0.5
    assert told["request_prefill_time_seconds_sum"] == 0.25
    assert told["request_decode_time_seconds_sum"] == 2.0
