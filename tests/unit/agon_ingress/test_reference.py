"""The page about the API says what the code does."""

from pathlib import Path

from agon_ingress import reference
from agon_ingress.bodies.policy import fates
from agon_ingress.routes import ENDPOINTS
from agon_ingress.settings import IngressSettings

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_page_is_what_the_code_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert reference.write(page) == page, "run: python -m agon_ingress.reference docs/api.md"


def test_every_field_of_every_endpoint_is_in_a_table() -> None:
    told = "\n".join(reference.fields())
    bodies = list(reference.bodies())
    assert {endpoint.path for endpoint in ENDPOINTS} < {path for path, _ in bodies}
    for path, kind in bodies:
        section = told.partition(f"`POST {path}`")[2].partition("###")[0]
        for name, fate in fates(kind).items():
            assert f"| `{name}` | {fate}" in section, (path, name)


def test_every_setting_is_documented() -> None:
    for name, field in IngressSettings.model_fields.items():
        if name not in ("http_host", "http_port"):
            assert field.description or name in IngressSettings.__mro__[1].model_fields, name
