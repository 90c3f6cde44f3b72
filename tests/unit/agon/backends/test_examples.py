"""The least JSON that a schema allows: for any schema, in a moment, and never an error."""

import json
from typing import Any

import jsonschema
import pytest

from agon.backends.examples import example

MANY = {"type": "array", "minItems": 10**9}


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "properties": {"a": {"type": "integer", "minimum": 5}, "b": {"enum": ["x"]}},
            "required": ["a"],
        },
        {"type": "array", "items": {"type": "string", "minLength": 6}, "minItems": 3},
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"const": 7}, {}]}}},
        {"type": "string", "maxLength": 2},
        {"type": ["boolean", "null"]},
    ],
)
def test_it_is_valid(schema: Any) -> None:
    jsonschema.validate(example(schema), schema)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        None,
        {"$ref": "#"},
        {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
        {"properties": {name: {"anyOf": [{"$ref": "#"}, {"type": "null"}]} for name in "abc"}},
        {**MANY, "items": {**MANY, "items": {**MANY, "items": {"$ref": "#"}}}},
        {"type": "string", "minLength": 10**12, "maxLength": "x"},
        {"type": "array", "minItems": "x"},
        {"type": "object", "required": [{}, "a", 5], "properties": []},
        {"type": "object", "required": 5},
        {"type": [[]]},
    ],
)
def test_no_schema_is_too_much(schema: Any) -> None:
    assert len(json.dumps(example(schema))) < 10_000_000
