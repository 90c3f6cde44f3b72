"""Settings come from the environment, and a wrong one stops the process with a line that names it."""

import pytest

from agon.errors import SetupError
from agon.settings import Settings


def test_the_environment_sets_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGON_KAFKA_URL", "kafka:19092")
    monkeypatch.setenv("AGON_TOPIC_PREFIX", "t1.")
    settings = Settings.load()
    assert settings.kafka_url == "kafka:19092"
    assert settings.topics.completions == "t1.llm.completions.v1"


def test_a_wrong_value_is_one_line_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGON_METRICS_PORT", "99999")
    with pytest.raises(SetupError, match=r"AGON_METRICS_PORT: .*65535") as caught:
        Settings.load()
    assert "\n" not in caught.value.message


def test_a_prefix_that_no_topic_can_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGON_TOPIC_PREFIX", "my topics/")
    with pytest.raises(SetupError, match="AGON_TOPIC_PREFIX"):
        Settings.load()


def test_two_processes_never_share_a_name() -> None:
    assert Settings.load().name != Settings.load().name


def test_the_session_secret_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGON_SESSION_SECRET", "hunter2")
    assert "hunter2" not in repr(Settings.load())
