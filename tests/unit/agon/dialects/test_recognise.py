"""Which format a model speaks, by its chat template."""

import json
from pathlib import Path

import pytest

from agon import nano
from agon.dialects import reasoning_style, tool_format

HERMES = "{%- if tools %}{{ '<tools>' }}{%- endif %}{{ '<tool_call>\\n{\"name\": ' }}"
LLAMA3 = '{%- if tools is not none %}{{ \'{"name": "\' + name + \'", "parameters": \' }}{%- endif %}'
MISTRAL = '{%- if tools %}{{ "[AVAILABLE_TOOLS] " }}{%- endif %}{{ "[TOOL_CALLS] [" }}'
PYTHONIC = (
    "{%- if tools %}{{ 'in the format of [func_name1(params_name1=params_value1), func_name2(params)]' }}{%- endif %}"
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (HERMES, "hermes"),
        (LLAMA3, "llama3"),
        (MISTRAL, "mistral"),
        (PYTHONIC, "pythonic"),
        ("{{ messages[0].content }}", None),
        ("", None),
        (None, None),
    ],
)
def test_a_template_tells_the_format_of_calls(template: str | None, expected: str | None) -> None:
    assert tool_format(template) == expected


@pytest.mark.parametrize(("name", "path"), nano.models().items())
def test_the_bundled_models_write_calls_as_hermes_does(name: str, path: Path) -> None:
    template = json.loads((path / "tokenizer_config.json").read_text())["chat_template"]
    assert tool_format(template) == "hermes", name
    assert reasoning_style(template) is None


def test_a_template_tells_where_reasoning_is() -> None:
    template = "{{ content.split('</think>')[-1] }}"
    assert reasoning_style(template, "<|im_start|>assistant\n") == "think"
    assert reasoning_style(template, "<|Assistant|><think>\n") == "think_open"
    assert reasoning_style(template, "<think>\n\n</think>\n\n") == "think"
    assert reasoning_style("{{ content }}", "<think>") is None
