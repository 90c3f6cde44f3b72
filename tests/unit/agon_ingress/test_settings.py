"""Settings of the ingress, from the environment."""

from datetime import timedelta

import pytest

from agon.errors import SetupError
from agon_ingress.settings import IngressSettings


@pytest.mark.parametrize(("given", "seconds"), [("1.5", 1.5), ("10", 10), ("PT2S", 2)])
def test_a_duration_is_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch, given: str, seconds: float) -> None:
    monkeypatch.setenv("AGON_HEAD_TIMEOUT", given)
    assert IngressSettings.load().head_timeout == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGON_HEAD_TIMEOUT", "soon"),
        ("AGON_HEAD_TIMEOUT", "0"),
        ("AGON_HTTP_PORT", "70000"),
        ("AGON_REDIS_URL", "localhost"),
        ("AGON_POSTGRES_URL", "localhost:5432"),
        ("AGON_REDIS_MEMORY_SHARE", "80"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError, match=name):
        IngressSettings.load()


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert IngressSettings().http_host == "127.0.0.1"
