"""schemathesis over our own openapi.json: no 500, no undocumented status or type, no answer against its schema."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from integration.clients.conftest import MINILM, SCRIPT, Api

pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
STREAMS = ("/arena/leaderboard/stream", "/arena/battles/{battle_id}/stream")
"""These do not end by themselves."""


@pytest.fixture(scope="session")
def openapi(api: Api) -> Any:
    document = httpx.get(f"{api.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document).exclude(path=list(STREAMS))
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    return schema


schema = schemathesis.pytest.from_fixture("openapi")


@schema.parametrize()
@settings(max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_endpoint_keeps_to_its_schema(case: Any, api: Api) -> None:
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        # Half of what is drawn goes to a model that is there, and not for long.
        body["model"] = MINILM if "embeddings" in case.path else SCRIPT
        body.pop("stream", None)
    checks = [CHECKS.get_one(name) for name in NAMES]
    case.call_and_validate(base_url=api.url, checks=checks, timeout=30)
