"""Metrics have one list, and logs are for people or for machines."""

import json
import logging
import re

import pytest
from prometheus_client import generate_latest

from agon.telemetry import METRICS, Metrics, configure_logging, new_traceparent


def test_every_declared_metric_can_be_made_and_scraped() -> None:
    metrics = Metrics()
    for name, (kind, labels, _, _) in METRICS.items():
        made = getattr(metrics, kind)(name)
        if labels:
            made.labels(*("x" for _ in labels))
    scraped = generate_latest(metrics.registry).decode()
    assert all(f"agon_{name}" in scraped for name in METRICS)


def test_an_undeclared_metric_or_a_wrong_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        Metrics().counter("not_declared")
    with pytest.raises(TypeError, match="is a counter, not a gauge"):
        Metrics().gauge("requests")


def test_json_logs_are_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test", style="json")
    logging.getLogger("x").warning("line one\nline two")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"]) == ("warning", "line one\nline two")


def test_a_trace_context_is_w3c() -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", new_traceparent())
