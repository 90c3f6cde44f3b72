"""CloudEvents are written on what we produce; nothing is required of what we consume."""

from agon.bus.headers import event_headers, event_type, traceparent
from agon.messages import GenerationRequest

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_messages_event_type_is_its_name_and_version() -> None:
    assert event_type(GenerationRequest) == "agon.generation_request.v1"


def test_the_required_attributes_of_cloudevents_are_there() -> None:
    request = GenerationRequest(request_id="r", model="m", kind="completion", prompt="x")
    headers = dict(event_headers(request, id="r", source="w-1", traceparent=TRACE))
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_id"] == b"r"
    assert headers["ce_source"] == b"/agon/w-1"
    assert headers["content-type"] == b"application/json"
    assert headers["traceparent"] == TRACE.encode()


def test_a_trace_is_found_and_nonsense_is_none() -> None:
    assert traceparent([("Traceparent", TRACE.encode())]) == TRACE
    assert traceparent([("traceparent", b"\xff\xfe")]) is None
    assert traceparent([]) is None
