"""Calls and their answers belong together."""

from typing import Any

import pytest

from agon.errors import InvalidRequest
from agon.messages import ChatMessage
from agon_ingress.asking.calls import check_calls
from unit.agon_ingress.offline import offline, post

USER = {"role": "user", "content": "Weather?"}


def calls(*ids: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": "{}"}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": id, "function": function} for id in ids]}


def answer(call_id: str | None) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "sunny"}


def check(*messages: dict[str, Any]) -> None:
    check_calls([ChatMessage.model_validate(message) for message in messages], "messages")


def test_answers_may_come_in_any_order_and_ids_again() -> None:
    check(USER, calls("a", "b"), answer("b"), answer("a"), USER, calls("a"), answer("a"))


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([USER, answer("a")], "`a`, which nobody called"),
        ([USER, answer("a"), calls("a")], "`a`, which nobody called"),
        ([USER, calls("a"), answer(None)], "null, which nobody called"),
        ([USER, calls("a", "b"), answer("a")], "no tool's answer to `b`"),
        ([USER, calls("a"), answer("a"), calls("a")], "no tool's answer to `a`"),
    ],
)
def test_what_does_not_belong_together_is_refused(messages: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(InvalidRequest, match=told) as caught:
        check(*messages)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/chat/completions", {"messages": [USER, answer("a")]}, "messages"),
        ("/v1/chat/completions", {"messages": [USER], "min_tokens": 9, "max_tokens": 3}, "min_tokens"),
        ("/v1/responses", {"input": [{"type": "function_call_output", "call_id": "a", "output": "x"}]}, "input"),
        ("/v1/responses", {"input": "x", "tool_choice": "required"}, "tool_choice"),
        ("/v1/responses", {"input": "x", "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
    ],
)
async def test_what_does_not_go_together_is_a_400_that_names_the_field(
    path: str, fields: dict[str, Any], param: str
) -> None:
    told = await post(offline(), path, {"model": "m", **fields})
    assert (told.status, told.error["param"]) == (400, param)
