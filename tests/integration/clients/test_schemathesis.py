"""schemathesis over our own openapi.json: no 500, no undocumented status or type, no answer against its schema."""

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from integration.clients.conftest import MINILM, SCRIPT, Api

pytestmark = pytest.mark.servers

DOCUMENT = json.loads((Path(__file__).parents[3] / "schemas" / "openapi.json").read_text(encoding="utf-8"))
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
# These do not end by themselves.
STREAMS = {"/arena/leaderboard/stream", "/arena/battles/{battle_id}/stream"}
OPERATIONS = [
    result.ok()
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if result.ok().path not in STREAMS
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_endpoint_keeps_to_its_schema(operation: Any, api: Api) -> None:
    checks = [CHECKS.get_one(name) for name in CHECKED]

    @settings(max_examples=10, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    )
    def keeps(case: Any) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            # What is drawn goes to a model that is there, so that it gets beyond the registry.
            case.body["model"] = MINILM if "embeddings" in operation.path else SCRIPT
        case.call_and_validate(base_url=api.url, checks=checks, timeout=30)

    keeps()
