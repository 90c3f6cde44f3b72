"""What form an answer must have: OpenAI's `response_format`, and three more types in the same way of writing."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from agon.messages.base import Message

_LONGEST = 256 * 1024  # characters of a pattern or grammar


class TextFormat(Message):
    """Any text."""

    type: Literal["text"] = "text"


class JsonObjectFormat(Message):
    """A JSON object."""

    type: Literal["json_object"] = "json_object"


class NamedSchema(Message):
    """OpenAI's wrapping of a JSON schema. The answer follows it whatever `strict` says."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    name: Annotated[str, Field(min_length=1, max_length=64)] = "answer"
    description: str | None = None
    schema_: Annotated[dict[str, Any] | bool, Field(alias="schema")] = {}
    strict: bool | None = None


class JsonSchemaFormat(Message):
    """JSON that is valid under the schema."""

    type: Literal["json_schema"] = "json_schema"
    json_schema: NamedSchema


class RegexFormat(Message):
    """Text that the whole of a regular expression matches."""

    type: Literal["regex"] = "regex"
    pattern: Annotated[str, Field(min_length=1, max_length=_LONGEST)]


_Choice = Annotated[str, Field(min_length=1, max_length=4096)]


class ChoiceFormat(Message):
    """One of these texts."""

    type: Literal["choice"] = "choice"
    choices: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...],
        Field(min_length=1, max_length=1024, fail_fast=True),
    ]


class GrammarFormat(Message):
    """Text of a context-free grammar, written as docs/engine.md says: Lark's way, with JSON schemas in it if wanted."""

    type: Literal["grammar"] = "grammar"
    grammar: Annotated[str, Field(min_length=1, max_length=_LONGEST)]


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | ChoiceFormat | GrammarFormat,
    Field(discriminator="type"),
]
