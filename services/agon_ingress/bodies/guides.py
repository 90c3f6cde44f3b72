"""What form an answer must have, in the three ways that clients write it: OpenAI's `response_format`, and vLLM's
`guided_*` and `structured_outputs`. All come down to one `response_format`."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import orjson
from pydantic import Field, model_validator

from agon.errors import InvalidRequest
from agon.messages import ResponseFormat
from agon.messages.formats import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedSchema,
    RegexFormat,
    TextFormat,
)
from agon_ingress.bodies.policy import Asked

_Schema = dict[str, Any] | str
_VLLMS = ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs")
_Choices = Annotated[tuple[str, ...], Field(min_length=1, max_length=1024, fail_fast=True)]


class StructuredOutputs(Asked):
    """vLLM's: one of these."""

    json_: Annotated[_Schema | None, Field(alias="json")] = None
    regex: str | None = None
    choice: _Choices | None = None
    grammar: str | None = None
    json_object: bool | None = None


class Guided(Asked):
    """The fields of a request that guide an answer; `form` is what they ask for together."""

    response_format: ResponseFormat | None = None
    guided_json: _Schema | None = None
    guided_regex: str | None = None
    guided_choice: _Choices | None = None
    guided_grammar: str | None = None
    structured_outputs: StructuredOutputs | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        asked = [name for name, form in self._forms() if form is not None]
        if len(asked) > 1:
            raise ValueError(f"{asked[1]} and {asked[0]} both say what form the answer has: give one of them")
        return self

    @property
    def form(self) -> ResponseFormat | None:
        """The form, None for any text."""
        return next((form for _, form in self._forms() if form is not None), None)

    def _forms(self) -> list[tuple[str, ResponseFormat | None]]:
        plain = self.response_format is None or isinstance(self.response_format, TextFormat)
        openais = ("response_format", None if plain else self.response_format)
        if self.model_fields_set.isdisjoint(_VLLMS):
            return [openais]  # as nearly always, and this is asked several times
        other = self.structured_outputs or StructuredOutputs()
        return [
            openais,
            ("guided_json", _schema(self.guided_json)),
            ("guided_regex", _regex(self.guided_regex)),
            ("guided_choice", _choice(self.guided_choice)),
            ("guided_grammar", _grammar(self.guided_grammar)),
            ("structured_outputs", _schema(other.json_)),
            ("structured_outputs", _regex(other.regex)),
            ("structured_outputs", _choice(other.choice)),
            ("structured_outputs", _grammar(other.grammar)),
            ("structured_outputs", JsonObjectFormat() if other.json_object else None),
        ]


def refuse_nameless_schema(raw: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` for OpenAI's `json_schema` without its name or without a schema."""
    form = raw.get("response_format")
    named = form.get("json_schema") if isinstance(form, Mapping) and form.get("type") == "json_schema" else None
    if isinstance(named, Mapping):
        for name in ("name", "schema"):
            if named.get(name) is None:
                path = f"response_format.json_schema.{name}"
                raise InvalidRequest(f"{path}: Field required", param=path, code="missing_required_parameter")


def _schema(schema: _Schema | None) -> JsonSchemaFormat | None:
    if isinstance(schema, str):
        try:
            schema = orjson.loads(schema)
        except orjson.JSONDecodeError:
            raise ValueError("guided_json: the text is no JSON") from None
    if schema is None or isinstance(schema, dict):
        return None if schema is None else JsonSchemaFormat(json_schema=NamedSchema(schema=schema))
    raise ValueError("guided_json: the text is no JSON object")


def _regex(pattern: str | None) -> RegexFormat | None:
    return RegexFormat(pattern=pattern) if pattern else None


def _choice(choices: tuple[str, ...] | None) -> ChoiceFormat | None:
    return ChoiceFormat(choices=choices) if choices else None


def _grammar(grammar: str | None) -> GrammarFormat | None:
    return GrammarFormat(grammar=grammar) if grammar else None
