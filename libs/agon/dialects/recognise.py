"""Which formats a model was trained on: its chat template shows them, because it writes earlier calls into prompts."""

import re
from typing import Literal

ToolFormat = Literal["hermes", "llama3", "mistral", "pythonic"]
ReasoningStyle = Literal["think", "think_open"]
"""`think`: an answer may begin with `<think>`. `think_open`: the prompt ends with it, the answer begins inside."""

_PYTHONIC = re.compile(r"\[func_name1?\(|python(ic)? list of (function )?calls|\[\s*func1?\(", re.IGNORECASE)


def tool_format(template: str | None) -> ToolFormat | None:
    """The format of calls that a chat template writes or asks for; None where it knows no tools."""
    if not template or "tools" not in template:
        return None
    if "<tool_call>" in template:
        return "hermes"
    if "[TOOL_CALLS]" in template:
        return "mistral"
    if _PYTHONIC.search(template):
        return "pythonic"
    if '"parameters"' in template or "<|python_tag|>" in template:
        return "llama3"
    return None


def reasoning_style(template: str | None, prompt: str = "") -> ReasoningStyle | None:
    """Where reasoning is found: by the template, and by a `prompt` that it rendered, ready for an answer."""
    if not template or "</think>" not in template:
        return None
    return "think_open" if prompt.rstrip().endswith("<think>") else "think"
