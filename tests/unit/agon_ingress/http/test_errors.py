"""Errors as HTTP answers."""

import json
from datetime import timedelta

import pytest
from pydantic import BaseModel, ValidationError
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.exceptions import HTTPException

from agon import errors
from agon.stream.frames import End
from agon_ingress.http.errors import envelope, error_response, from_end, from_exception
from agon_ingress.http.findings import invalid, param_path
from unit.agon_ingress.offline import offline, post


def end(status: str = "failed", message: str | None = None, kind: str | None = None, code: str | None = None) -> End:
    return End(status, 1, 0, 0, 0.0, message, kind, code)


def test_the_envelope_always_has_its_four_keys() -> None:
    assert json.loads(envelope(errors.AgonError("oh"))) == {
        "error": {"message": "oh", "type": "server_error", "param": None, "code": None}
    }


def test_an_error_s_own_headers_are_on_its_answer() -> None:
    error = errors.RateLimited("Enough.")
    error.headers = {"x-ratelimit-limit-requests": "5"}
    assert error_response(error).headers["x-ratelimit-limit-requests"] == "5"
    assert error_response(error).headers["x-should-retry"] == "true"


def test_a_client_may_retry_where_coming_back_helps() -> None:
    response = error_response(errors.Unavailable("away", retry_after=timedelta(seconds=2.5)))
    assert response.status_code == 503
    assert response.headers["x-should-retry"] == "true"
    assert response.headers["retry-after-ms"] == "2500"
    assert response.headers["retry-after"] == "3"


@pytest.mark.parametrize("error", [errors.EngineFailed("x"), errors.Conflict("x"), errors.InvalidRequest("x")])
def test_a_client_must_not_repeat_what_already_ran_or_will_never_do(error: errors.AgonError) -> None:
    response = error_response(error)
    assert response.headers["x-should-retry"] == "false"
    assert "retry-after-ms" not in response.headers


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("context_length_exceeded", errors.ContextTooLong, 400),
        ("engine_failed", errors.EngineFailed, 500),
        ("worker_lost", errors.WorkerLost, 500),
        ("deadline_exceeded", errors.Expired, 504),
        ("cancelled", errors.Cancelled, 499),
        ("upstream_failed", errors.UpstreamFailed, 502),
    ],
)
def test_a_workers_error_keeps_its_class_by_code(code: str, kind: type[errors.AgonError], status: int) -> None:
    error = from_end(end(message="why", kind=kind.type, code=code))
    assert type(error) is kind
    assert (error.status, error.message, error.code) == (status, "why", code)


def test_a_workers_error_names_the_field_as_the_client_does() -> None:
    told = End("failed", 1, 0, 0, 0.0, "no", "invalid_request_error", "context_length_exceeded", "messages")
    assert from_end(told).param == "messages"
    assert from_end(told, {"messages": "input"}).param == "input"


def test_a_workers_error_of_an_unknown_code_is_judged_by_its_type() -> None:
    assert from_end(end(message="x", kind="invalid_request_error", code="new_one")).status == 400
    assert from_end(end(message="x", kind="server_error", code="newer")).status == 500
    assert from_end(end(status="cancelled")).message == "the request ended as cancelled"


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (HTTPException(404), 404),
        (HTTPException(405), 405),
        (HTTPException(418, "teapot"), 418),
        (RedisConnectionError("x"), 503),
        (ConnectionRefusedError(), 503),
        (ZeroDivisionError("secret"), 500),
    ],
)
def test_every_exception_has_an_answer(raised: Exception, status: int) -> None:
    error = from_exception(raised)
    assert error.status == status
    assert "secret" not in error.message


def test_what_reading_the_body_raised_is_not_hidden_by_fastapi() -> None:
    wrapped = HTTPException(400, "There was an error parsing the body")
    wrapped.__cause__ = errors.TooLarge("big")
    assert from_exception(wrapped).status == 413


class Inner(BaseModel):
    x: int


class Outer(BaseModel):
    inner: tuple[Inner, ...] | str
    y: int


def test_param_is_the_path_of_the_first_finding_and_the_message_tells_all() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": [{"x": "no"}], "y": "no"})
    error = invalid(caught.value.errors())
    assert error.param == "inner[0].x"
    assert error.message.count("inner") == 1
    assert "y: " in error.message


def test_a_path_is_written_as_people_do() -> None:
    assert param_path(("body", "messages", 0, "content", "str")) == "messages[0].content"
    assert param_path(()) is None


async def test_a_route_that_breaks_answers_as_every_other_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    app = offline()

    @app.post("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("secret")

    told = await post(app, "/broken", {})
    assert (told.status, told.error["type"]) == (500, "server_error")
    assert b"secret" not in told.body
    assert "secret" in caplog.text


def test_of_very_many_findings_the_first_are_looked_at() -> None:
    """Each is held against all others."""
    findings = [{"type": "int_type", "loc": ("x", n), "msg": "Input should be a valid integer"} for n in range(1000)]
    assert invalid(findings, {"x": ["a"] * 1000}).message.endswith("(and 95 more)")
