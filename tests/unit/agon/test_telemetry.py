"""Metrics have one list, and logs are for people or for machines."""

import json
import logging
import re
from datetime import datetime, timedelta

import pytest
from prometheus_client import generate_latest

from agon.messages import now
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
    assert (line["process"], line["level"], line["message"]) == ("test", "warning", "line one\nline two")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["at"])
    assert abs(datetime.fromisoformat(line["at"]) - now()) < timedelta(minutes=1)


def test_a_line_for_people_says_the_day_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test")
    logging.getLogger("x").warning("late")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d test WARNING late\n", capsys.readouterr().err)


def test_a_trace_context_is_w3c() -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", new_traceparent())
