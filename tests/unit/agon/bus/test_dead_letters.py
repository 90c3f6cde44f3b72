"""A dead letter is the record as it was, plus why."""

from types import SimpleNamespace

from agon.bus.dead_letters import dead_letter_headers

RECORD = SimpleNamespace(
    topic="t",
    partition=3,
    offset=41,
    timestamp=0,
    key=b"k",
    value=b"v",
    headers=(("own", b"\xff\x00"), ("x-dlq-error", b"old")),
)


def test_the_records_own_headers_are_kept_byte_for_byte() -> None:
    headers = dead_letter_headers(RECORD, group="g", reason="invalid_json", error="no JSON")
    assert ("own", b"\xff\x00") in headers


def test_the_reason_says_where_it_was_and_what_was_wrong() -> None:
    headers = dict(dead_letter_headers(RECORD, group="g", reason="invalid_json", error="no JSON"))
    told = {name: value for name, value in headers.items() if name.startswith("x-dlq-")}
    told.pop("x-dlq-time")
    assert told == {
        "x-dlq-topic": b"t",
        "x-dlq-partition": b"3",
        "x-dlq-offset": b"41",
        "x-dlq-group": b"g",
        "x-dlq-error-type": b"invalid_json",
        "x-dlq-error": b"no JSON",
    }


def test_the_reasons_of_an_earlier_burial_are_replaced() -> None:
    headers = dead_letter_headers(RECORD, group="g", reason="r", error="new")
    assert [value for name, value in headers if name == "x-dlq-error"] == [b"new"]


def test_a_very_long_reason_is_cut() -> None:
    headers = dict(dead_letter_headers(RECORD, group="g", reason="r", error="x" * 100_000))
    assert len(headers["x-dlq-error"]) <= 2048
