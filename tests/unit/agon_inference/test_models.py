"""What a worker is told to serve is loaded, or refused in one line; a job that was given up is heard no more."""

import re
from collections.abc import Sequence

import pytest

from agon.backends import BackendSpec, Event, Failed, Finished, Job, Tokens
from agon.backends.scripted import ScriptedBackend
from agon.errors import Cancelled, SetupError
from agon.messages import GenerationRequest
from agon_inference.app import specs
from agon_inference.models import Models, load_backends
from agon_inference.settings import InferenceSettings

KEY = "default/r1"


def nothing(events: Sequence[Event]) -> None:
    """Events that nobody wants."""


async def test_a_name_that_is_given_twice_is_refused() -> None:
    twice = [BackendSpec.parse("m=scripted:text=a"), BackendSpec.parse("m=scripted:text=b")]
    with pytest.raises(SetupError, match="given twice"):
        await load_backends(twice)


async def test_the_log_tells_how_far_loading_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "agon_inference.models")
    await load_backends([BackendSpec.parse("a=scripted:text=a"), BackendSpec.parse("b=scripted:text=b")])
    told = [re.sub(r"[\d.]+ s$", "N s", message) for message in caplog.messages]
    assert told == [
        "loading a (scripted), 1 of 2", "a is loaded, in N s",
        "loading b (scripted), 2 of 2", "b is loaded, in N s",
    ]  # fmt: skip


async def test_an_adapter_of_what_is_no_engine_here_is_refused() -> None:
    with pytest.raises(SetupError, match="needs its base `m`, run by an engine"):
        await load_backends([BackendSpec.parse("a=/some/folder,adapter-of=m"), BackendSpec.parse("m=scripted:text=a")])


async def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(SetupError, match="colour"):
        await load_backends([BackendSpec.parse("m=scripted:colour=red")])


def test_the_settings_spell_what_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGON_MODELS", '["a=scripted:text=x", "b=scripted:text=y"]')
    assert [spec.model for spec in specs(InferenceSettings.load())] == ["a", "b"]
    monkeypatch.setenv("AGON_WINDOW", "many")
    with pytest.raises(SetupError, match="AGON_WINDOW"):
        InferenceSettings.load()


def test_what_an_abandoned_job_says_is_not_taken_for_its_successor() -> None:
    models = Models({"m": ScriptedBackend("m")}, nothing, nothing)
    request = GenerationRequest(request_id="r1", model="m", kind="completion", prompt="x", seed=1)
    models.submit("m", Job(request))
    models.abandon("m", KEY)
    late = Tokens(KEY, 0, 0, (1,), "a")
    its_end = Failed(KEY, Cancelled("gone"))
    successors, others = Finished(KEY, 1, 1), Finished("default/r2", 1, 1)
    assert models.current([late, others]) == [others]
    assert models.current([its_end, successors]) == [successors]
