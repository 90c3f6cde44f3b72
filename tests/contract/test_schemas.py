"""The published schemas are those of the classes, and only ever add to what was released."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agon.messages import (
    AssistantMessage,
    CompletionChoice,
    GenerationCompleted,
    GenerationRequest,
    Timings,
    VoteCast,
    now,
)
from agon.messages.schemas import Role, breaks, channels, documents, file_name, schemas

SCHEMAS = Path(__file__).parents[2] / "schemas"
ROLES: dict[str, Role] = {file_name(message): channel.role for channel in channels() for message in channel.messages}


@pytest.mark.parametrize("name", sorted(documents()))
def test_what_is_published_is_what_the_classes_say(name: str) -> None:
    published = (SCHEMAS / name).read_text(encoding="utf-8")
    assert published == documents()[name], "run `python -m agon.messages.schemas`"


def test_every_schema_is_released() -> None:
    released = {path.name for path in (SCHEMAS / "released").glob("*.json")}
    assert released == set(schemas()), "run `python -m agon.messages.schemas --release` for a new message"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_a_change_only_adds_to_what_was_released(name: str) -> None:
    released = json.loads((SCHEMAS / "released" / name).read_text(encoding="utf-8"))
    assert breaks(released, schemas()[name], ROLES[name]) == []


@pytest.mark.parametrize("name", sorted(schemas()))
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas()[name])


def test_the_least_request_and_a_full_one_satisfy_the_schema() -> None:
    schema = schemas()["GenerationRequest.v1.json"]
    least = {"request_id": "r1", "model": "m", "messages": [{"role": "user", "content": "hi"}]}
    jsonschema.validate(least, schema)
    jsonschema.validate({**least, "stop": "one"}, schema)
    jsonschema.validate(json.loads(GenerationRequest.model_validate({**least, "stop": ["a"], "n": 2}).encode()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"model": "m"}, schema)


def test_what_is_sent_satisfies_the_schema() -> None:
    completion = GenerationCompleted(
        request_id="r",
        tenant="default",
        model="m",
        status="finished",
        choices=(CompletionChoice(index=0, message=AssistantMessage(content="hi"), finish_reason="stop"),),
        timings=Timings(accepted_at=now(), finished_at=now()),
        worker="w",
        attempt=1,
    )
    jsonschema.validate(json.loads(completion.encode()), schemas()["GenerationCompleted.v1.json"])


def _changed(message: str, change: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    old = schemas()[f"{message}.v1.json"]
    new = copy.deepcopy(old)
    change(new)
    return old, new


COMMAND_BREAKS: list[tuple[str, Any]] = [
    ("a field is gone", lambda s: s["properties"].pop("seed")),
    ("a field is newly required", lambda s: s["required"].append("tenant")),
    ("a type is narrower", lambda s: s["properties"]["n"].update(type="string")),
    ("a value is no longer taken", lambda s: s["properties"]["kind"]["enum"].remove("embedding")),
    ("a bound is tighter", lambda s: s["properties"]["n"].update(maximum=2)),
    (
        "a bound inside an alternative is tighter",
        lambda s: s["properties"]["temperature"]["anyOf"][0].update(maximum=1),
    ),
    ("an alternative is gone", lambda s: s["properties"]["stop"].update(anyOf=[{"type": "string"}])),
    ("null is no longer taken", lambda s: s["properties"]["seed"].update(anyOf=[{"type": "integer"}])),
    ("something deep is gone", lambda s: s["$defs"]["ChatMessage"]["properties"].pop("name")),
]
EVENT_BREAKS: list[tuple[str, Any]] = [
    ("a field is gone", lambda s: s["properties"].pop("usage")),
    ("a field is not always there", lambda s: s["required"].remove("usage")),
    ("a value is new", lambda s: s["properties"]["status"]["enum"].append("paused")),
    ("a type is wider", lambda s: s["properties"]["attempt"].update(anyOf=[{"type": "integer"}, {"type": "null"}])),
    ("something deep is gone", lambda s: s["$defs"]["Usage"]["properties"].pop("total_tokens")),
]


@pytest.mark.parametrize(("what", "change"), COMMAND_BREAKS, ids=[what for what, _ in COMMAND_BREAKS])
def test_a_command_that_takes_less_is_noticed(what: str, change: Any) -> None:
    assert breaks(*_changed("GenerationRequest", change), "command") != []


@pytest.mark.parametrize(("what", "change"), EVENT_BREAKS, ids=[what for what, _ in EVENT_BREAKS])
def test_an_event_that_says_less_or_something_unheard_of_is_noticed(what: str, change: Any) -> None:
    assert breaks(*_changed("GenerationCompleted", change), "event") != []


def test_adding_is_fine() -> None:
    def add(schema: dict[str, Any]) -> None:
        schema["properties"]["brand_new"] = {"type": "string", "default": ""}

    def widen(schema: dict[str, Any]) -> None:
        add(schema)
        schema["properties"]["kind"]["enum"].append("image")
        schema["properties"]["n"]["maximum"] = 99

    assert breaks(*_changed("GenerationRequest", widen), "command") == []
    assert breaks(*_changed("GenerationCompleted", add), "event") == []


def test_the_description_of_channels_names_each_topic_once() -> None:
    addresses = [channel.address for channel in channels()]
    assert len(addresses) == len(set(addresses))
    assert VoteCast in next(channel.messages for channel in channels() if channel.name == "votes")
