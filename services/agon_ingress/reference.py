"""The tables of `docs/api.md`, made from the code: every endpoint, what becomes of each field, every setting.

`python -m agon_ingress.reference docs/api.md` writes them between the page's markers; a test fails when the page is
behind the code.
"""

import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from agon.settings import MIB, Settings
from agon_ingress.absent.routes import router as absent
from agon_ingress.app import ROUTERS
from agon_ingress.bodies.policy import fates, refusals
from agon_ingress.files.types import NewFile
from agon_ingress.routes import ENDPOINTS
from agon_ingress.settings import IngressSettings

_MARKS = re.compile(r"(?P<begin><!-- made of the code: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
_FATES = {"implemented": "implemented", "accepted": "accepted, without effect", "refused": "refused"}


def write(page: str) -> str:
    """The page with its tables as the code says now."""
    tables = {"endpoints": endpoints, "fields": fields, "settings": settings}
    return _MARKS.sub(lambda m: m["begin"] + "\n" + "\n".join(tables[m["name"]]()) + "\n\n" + m["end"], page)


def endpoints() -> Iterator[str]:
    """One line for each method and path."""
    yield "| | |"
    yield "|---|---|"
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and (route.include_in_schema or router is absent):
                about = (route.description or "").partition("\n")[0]
                yield f"| `{', '.join(sorted(route.methods or ()))} {route.path}` | {about} |"


def bodies() -> Iterator[tuple[str, type[BaseModel]]]:
    """What is posted to `/v1`, by its path: first where a model is asked."""
    for endpoint in ENDPOINTS:
        yield endpoint.path, endpoint.asks
    yield "/v1/files", NewFile
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and (kind := getattr(route.endpoint, "takes", None)) is not None:
                yield route.path, kind


def fields() -> Iterator[str]:
    """A table for each of them."""
    for path, kind in bodies():
        yield f"### `POST {path}`"
        yield ""
        yield "| field | | |"
        yield "|---|---|---|"
        for name, field in kind.model_fields.items():
            yield f"| `{name}` | {_FATES[fates(kind)[name]]} | {_note(kind, name, field)} |"
        yield ""
    yield "A field that is in no table is ignored, and named in the answer's header `x-ignored-params`."


def settings() -> Iterator[str]:
    """Every setting that the ingress adds to the shared ones."""
    yield "| variable | default | |"
    yield "|---|---|---|"
    for name, field in IngressSettings.model_fields.items():
        if name not in Settings.model_fields:
            yield f"| `AGON_{name.upper()}` | {_shown(name, field.default)} | {_line(field.description)} |"


def _note(kind: type[BaseModel], name: str, field: FieldInfo) -> str:
    if (refusal := refusals(kind).get(name)) is not None:
        taken = ", ".join(f"`{value!r}`".replace("'", '"').replace("False", "false") for value in refusal.neutral)
        return " ".join(filter(None, (f"{taken} is taken." if taken else "", refusal.why)))
    return _line(field.description)


def _line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _shown(name: str, value: Any) -> str:
    match value:
        case timedelta():
            return f"{value.total_seconds():g} s"
        case int() if name.endswith("_bytes"):
            return f"{value // MIB} MiB" if value % MIB == 0 else f"{value // 1024} KiB"
        case SecretStr() | "":
            return ""
        case None:
            return "none"
    return f"`{value}`"


def main() -> None:
    path = Path(sys.argv[1])
    path.write_text(write(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
