"""What becomes of each field of a request: the request's own type says it, and everything else follows from that.

A field without a mark is implemented. `Accepted` and `Refused` mark the others; a field that the type lacks is unknown:
ignored, and named in the answer's header `x-ignored-params`. `docs/api.md` and `openapi.json` are made from the same.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from agon.errors import UnsupportedParameter

Fate = Literal["implemented", "accepted", "refused"]


class Accepted:
    """A mark: any value is taken, and changes nothing."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"description": "Accepted, without effect."}


class Refused:
    """A mark: refused by name, but for null and the values that ask for nothing (`neutral`)."""

    def __init__(self, *neutral: Any, why: str = "") -> None:
        self.neutral = neutral
        self.why = why

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"description": f"Not supported. {self.why}".strip(), "enum": [None, *self.neutral]}


class Asked(BaseModel):
    """The body of a request. What is left out, or null, is the default."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)

    @property
    def streams(self) -> bool:
        """Its answer is wanted as it comes; endpoints that can do so have a field `stream`."""
        return getattr(self, "stream", False)

    @property
    def apart(self) -> bool:
        """Its client does not wait for the answer, and asks for it later."""
        return getattr(self, "background", False)

    @classmethod
    def refuse_within(cls, raw: Mapping[str, Any]) -> None:
        """Raise `UnsupportedParameter`, by path, for what lies deeper than a field and this server does not do."""

    @classmethod
    def amend(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The fields that are implemented, as this server's types have them."""
        return given


def refusals_as_text(parts: list[Any], kind: str) -> list[Any]:
    """Parts of a message, those of type `refusal` as text of this type."""
    return [
        {"type": kind, "text": part["refusal"]}
        if isinstance(part, dict) and part.get("type") == "refusal" and isinstance(part.get("refusal"), str)
        else part
        for part in parts
    ]


@cache
def fates(kind: type[BaseModel]) -> Mapping[str, Fate]:
    """Every field that a request knows, by the name it has in JSON."""
    found: dict[str, Fate] = {}
    for name, field in kind.model_fields.items():
        marks = {type(mark) for mark in field.metadata}
        found[field.alias or name] = (
            "refused" if Refused in marks else "accepted" if Accepted in marks else "implemented"
        )
    return found


@cache
def option_objects(kind: type[BaseModel]) -> frozenset[str]:
    """The fields, by the name they have in JSON, whose value is an object with fields of its own."""

    def is_object(annotation: Any) -> bool:
        if get_origin(annotation) in (tuple, dict):
            return False
        inner = get_args(annotation)
        return any(map(is_object, inner)) or (isinstance(annotation, type) and issubclass(annotation, BaseModel))

    return frozenset(field.alias or name for name, field in kind.model_fields.items() if is_object(field.annotation))


@cache
def refusals(kind: type[BaseModel]) -> Mapping[str, Refused]:
    """The marks of what is refused, by name."""
    return {
        field.alias or name: mark
        for name, field in kind.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Refused)
    }


def objects(raw: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects in a raw list, each with its path; whatever else is wrong is left to the types."""
    for index, item in enumerate(raw if isinstance(raw, list) else ()):
        if isinstance(item, Mapping):
            yield f"{where}[{index}]", item


def refuse_other_types(raw: Any, where: str, known: tuple[str, ...]) -> None:
    """Raise `UnsupportedParameter` for an object in a raw list whose `type` is another than these."""
    for path, item in objects(raw, where):
        kind = item.get("type")
        if isinstance(kind, str) and kind not in known:
            told = f"{path}: the type `{kind[:64]}` is not supported; this server takes `{'`, `'.join(known)}`."
            raise UnsupportedParameter(told, param=f"{path}.type")
