"""The public HTTP contract."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agon_ingress.app import create_app
from agon_ingress.settings import IngressSettings

FILE = Path(__file__).parents[3] / "schemas" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(IngressSettings()).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{m} {path}", op) for path, methods in document["paths"].items() for m, op in methods.items()]


def test_the_committed_file_is_what_the_code_says(document: dict[str, Any]) -> None:
    written = json.loads(FILE.read_text(encoding="utf-8"))
    assert written == document, "run: python -m agon_ingress.openapi schemas/openapi.json"


def test_every_operation_declares_the_error_envelope_and_no_other(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        told = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert told == {"$ref": "#/components/schemas/ErrorResponse"}, name
        assert "422" not in operation["responses"], name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    for part in text.split('"$ref": "')[1:]:
        ref = part.partition('"')[0]
        assert ref.removeprefix("#/components/schemas/") in schemas, ref
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_chat_body_and_its_two_answers_are_described(document: dict[str, Any]) -> None:
    chat = document["paths"]["/v1/chat/completions"]["post"]
    assert chat["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/ChatCompletionRequest")
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    fields = document["components"]["schemas"]["ChatCompletionRequest"]
    assert set(fields["required"]) == {"model", "messages"}
    assert "string" in json.dumps(fields["properties"]["stop"])


@pytest.mark.parametrize("chunk", ["ChatCompletionChunk", "CompletionChunk"])
def test_a_chunk_without_usage_is_as_it_is_described(document: dict[str, Any], chunk: str) -> None:
    assert "choices" in document["components"]["schemas"][chunk]["required"]
    assert "usage" not in document["components"]["schemas"][chunk]["required"]


def test_a_kept_response_can_be_a_stream(document: dict[str, Any]) -> None:
    told = document["paths"]["/v1/responses/{response_id}"]["get"]["responses"]["200"]["content"]
    asked = document["paths"]["/v1/responses"]["post"]["responses"]["200"]["content"]
    assert told == asked
    assert set(told) == {"application/json", "text/event-stream"}


def test_every_body_is_described_but_for_what_needs_none(document: dict[str, Any]) -> None:
    without = {path for path, some in document["paths"].items() if "post" in some and "requestBody" not in some["post"]}
    assert without == {"/v1/responses/{response_id}/cancel", "/v1/batches/{batch_id}/cancel"}


def test_nothing_internal_is_public(document: dict[str, Any]) -> None:
    assert not {"/metrics", "/admin/models"} & set(document["paths"])
