"""A record is a request that can run, or a refusal that says what is wrong."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon.messages import GenerationRequest, now, rfc3339
from agon_inference.decoding import Limits, Refusal, decode, derived_seed, digest, identify

LIMITS = Limits(max_bytes=4096, default_deadline=timedelta(minutes=10), longest_deadline=timedelta(hours=1))
ARRIVED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LEAST = {"request_id": "r1", "model": "m", "messages": [{"role": "user", "content": "hi"}]}


def record(value: bytes | dict[str, Any] | None) -> Any:
    data = json.dumps(value).encode() if isinstance(value, dict) else value
    return SimpleNamespace(
        topic="t", partition=0, offset=0, timestamp=int(ARRIVED.timestamp() * 1000), key=None, value=data, headers=()
    )


def request(**fields: Any) -> GenerationRequest:
    decoded = decode(record({**LEAST, **fields}), "m", LIMITS)
    assert isinstance(decoded, GenerationRequest)
    return decoded


def refusal(value: bytes | dict[str, Any] | None) -> Refusal:
    decoded = decode(record(value), "m", LIMITS)
    assert isinstance(decoded, Refusal)
    return decoded


def test_the_least_request_gets_a_seed_and_a_deadline() -> None:
    decoded = request()
    assert decoded.seed == derived_seed(decoded)
    assert decoded.deadline == ARRIVED + timedelta(minutes=10)


def test_a_deadline_that_is_given_stays_unless_it_is_beyond_the_longest() -> None:
    soon = ARRIVED + timedelta(seconds=5)
    assert request(deadline=rfc3339(soon)).deadline == soon
    assert request(deadline=rfc3339(ARRIVED + timedelta(days=9))).deadline == ARRIVED + timedelta(hours=1)


def test_a_seed_that_is_given_stays_even_when_it_is_zero() -> None:
    assert request(seed=0).seed == 0


@pytest.mark.parametrize("timestamp", [-1, 0, 10**18])
def test_a_record_without_a_time_that_makes_sense_has_arrived_now(timestamp: int) -> None:
    arrival = record(LEAST)
    arrival.timestamp = timestamp
    decoded = decode(arrival, "m", LIMITS)
    assert isinstance(decoded, GenerationRequest)
    assert decoded.deadline is not None
    assert abs(decoded.deadline - now() - timedelta(minutes=10)) < timedelta(seconds=5)


def test_a_derived_seed_differs_by_request_and_tenant_and_is_the_same_each_time() -> None:
    seeds = {derived_seed(request(request_id=name, tenant=tenant)) for name in "ab" for tenant in "xy"}
    assert len(seeds) == 4
    assert derived_seed(request()) == derived_seed(request())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "invalid_json"),
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"[" * 4000, "invalid_json"),
        (b"null", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b"[]", "wrong_type"),
        (b"x" * 5000, "too_large"),
        (b'{"request_id": "r\xff"}', "invalid_json"),
        (b'{"request_id": "r1", "a": ' + b"[" * 2000 + b"]" * 2000 + b"}", "invalid_json"),
    ],
)
def test_what_is_no_object_is_refused_without_an_identity(value: bytes | None, reason: str) -> None:
    assert refusal(value).reason == reason
    assert identify(record(value), LIMITS) is None


@pytest.mark.parametrize(
    ("change", "reason", "param"),
    [
        ({"functions": [{}]}, "unsupported_parameter", "functions"),
        ({"tools": [{}]}, "invalid_request", "tools"),
        ({"temperature": "hot"}, "invalid_request", "temperature"),
        ({"messages": None}, "invalid_request", None),
        ({"model": "other"}, "unknown_model", "model"),
        ({"model": None}, "invalid_request", "model"),
        ({"deadline": "9999-12-31T23:59:59-14:00"}, "invalid_request", None),
        ({"deadline": "2026-11-24T12:00:00"}, "invalid_request", "deadline"),
    ],
)
def test_a_wrong_request_is_refused_with_its_identity_and_the_field(
    change: dict[str, Any], reason: str, param: str | None
) -> None:
    value = {**LEAST, "tenant": "acme", **change}
    refused = refusal(value)
    assert (refused.reason, refused.error.param) == (reason, param)
    assert identify(record(value), LIMITS) == ("acme", "r1")


@pytest.mark.parametrize("named", [{}, {"tenant": None}, {"tenant": "default"}])
def test_a_record_that_names_no_tenant_is_of_the_default_one(named: dict[str, Any]) -> None:
    assert identify(record({**LEAST, **named}), LIMITS) == ("default", "r1")
    assert request(**named).tenant == "default"


def test_what_is_json_only_to_some_still_has_its_identity() -> None:
    assert identify(record(b'{"request_id": "r1", "temperature": NaN}'), LIMITS) == ("default", "r1")
    assert identify(record(b'{"request_id": "r1", "request_id": "r2"}'), LIMITS) == ("default", "r2")


@given(st.data())
def test_whatever_the_bytes_are_they_are_read_and_both_readers_agree(data: st.DataObject) -> None:
    value = bytearray(json.dumps({**LEAST, "tenant": "acme"}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(value)))
        value[start : start + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    decoded = decode(record(bytes(value)), "m", LIMITS)
    identity = identify(record(bytes(value)), LIMITS)
    if isinstance(decoded, GenerationRequest):
        assert identity == (decoded.tenant, decoded.request_id)


@pytest.mark.parametrize("tenant", ["no/slash", "", ["acme"]])
def test_a_tenant_that_is_none_is_not_used(tenant: Any) -> None:
    assert identify(record({**LEAST, "tenant": tenant}), LIMITS) is None
    assert refusal({**LEAST, "tenant": tenant}).reason == "invalid_request"


@pytest.mark.parametrize("request_id", ["not an id", "r1\n", 7, None])
def test_an_id_that_is_none_is_not_used(request_id: Any) -> None:
    assert identify(record({**LEAST, "request_id": request_id}), LIMITS) is None
    assert refusal({**LEAST, "request_id": request_id}).reason == "invalid_request"


def test_a_refusal_never_repeats_what_was_asked() -> None:
    refused = refusal({**LEAST, "messages": [{"role": "user", "content": {"private": "words"}}]})
    assert "words" not in refused.error.message


def test_the_digest_is_of_the_value() -> None:
    assert digest(record(b"a")) != digest(record(b"b"))
