"""schemathesis over our own openapi.json: no 500, no undocumented status or type, no answer against its schema. Half of
the requests name what is there, so that there is something to answer."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from integration.clients.conftest import MINILM, SCRIPT, Api

pytestmark = pytest.mark.servers

DOCUMENT = json.loads((Path(__file__).parents[3] / "schemas" / "openapi.json").read_text(encoding="utf-8"))
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# These do not end by themselves.
STREAMS = {"/arena/leaderboard/stream", "/arena/battles/{battle_id}/stream"}
# What deletes something comes last.
OPERATIONS = sorted(
    (
        result.ok()
        for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
        if result.ok().path not in STREAMS
    ),
    key=lambda operation: operation.method == "delete",
)


@pytest.fixture(scope="module")
def made(api: Api) -> dict[str, str]:
    """One of everything that has an id, by the name that a path or a body has for it."""
    with httpx.Client(base_url=api.url, timeout=60) as client:

        def post(path: str, **more: Any) -> Any:
            answer = client.post(path, **more)
            assert answer.is_success, answer.text
            return answer.json()

        chat = {"model": SCRIPT, "messages": [{"role": "user", "content": "Hi"}], "store": True}
        line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": chat}
        item = {"type": "message", "role": "user", "content": "Hi"}
        file = post("/v1/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", json.dumps(line).encode())})
        batch = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        conversation = post("/v1/conversations", json={"items": [item]})["id"]
        return {
            "completion_id": post("/v1/chat/completions", json=chat)["id"],
            "response_id": post("/v1/responses", json={"model": SCRIPT, "input": "Hi", "background": True})["id"],
            "file_id": file["id"],
            "input_file_id": file["id"],
            "batch_id": post("/v1/batches", json=batch)["id"],
            "battle_id": post("/arena/battles", json={"prompt": "Hi"})["battle_id"],
            "conversation_id": conversation,
            "item_id": client.get(f"/v1/conversations/{conversation}/items").json()["data"][0]["id"],
            "model": SCRIPT,
        }


def keeps_as_a_stream(case: Any, text: str) -> None:
    """What the document says of a stream schemathesis holds against whole events; ours, as OpenAI's, says it of their
    data."""
    schema = case.operation.definition.raw["responses"]["200"]["content"]["text/event-stream"]["schema"]
    event = Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    for line in text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            event.validate(json.loads(line[6:]))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_endpoint_keeps_to_its_schema(operation: Any, api: Api, made: dict[str, str]) -> None:
    checks = [CHECKS.get_one(name) for name in CHECKED]

    @settings(max_examples=10, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        st.booleans(),
    )
    def keeps(case: Any, there: bool) -> None:
        if there:
            named = case.path_parameters or {}
            case.path_parameters = {name: made.get(name, value) for name, value in named.items()}
            if isinstance(case.body, dict) and "input_file_id" in case.body:
                case.body["input_file_id"] = made["input_file_id"]
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            # What is drawn goes to a model that is there, so that it gets beyond the registry.
            case.body["model"] = MINILM if "embeddings" in operation.path else SCRIPT
        answer = case.call(base_url=api.url, timeout=60)
        if answer.headers["content-type"][0].startswith("text/event-stream"):
            case.validate_response(answer, checks=checks[:-1])
            keeps_as_a_stream(case, answer.text)
        else:
            case.validate_response(answer, checks=checks)

    keeps()
