"""Kept responses with the official client: read again, go on from, list what they were made of, delete."""

import json
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from integration.clients.conftest import NANO, SCRIPT, THINKER
from integration.clients.test_openai_responses import WEATHER

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (SCRIPT, {"instructions": "Be short.", "metadata": {"a": "b"}}),
        (SCRIPT, {"tools": [WEATHER], "tool_choice": "required"}),
        (THINKER, {}),
        (NANO, {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "seed": 1, "max_output_tokens": 20}),
    ],
)
def test_a_kept_response_is_what_was_answered(client: OpenAI, model: str, fields: Any) -> None:
    response = client.responses.create(model=model, input="Hello", extra_body={"seed": 1, **fields})
    assert client.responses.retrieve(response.id) == response


def test_a_stream_is_kept_as_a_whole(client: OpenAI) -> None:
    with client.responses.stream(model=THINKER, input="Hello") as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert client.responses.retrieve(final.id).output_text == final.output_text


def test_a_conversation_goes_on_from_the_response_before(client: OpenAI) -> None:
    """The scripted model says how long the conversation was."""
    first = client.responses.create(model=SCRIPT, input="Hello", instructions="Be short.")
    second = client.responses.create(model=SCRIPT, input="And again", previous_response_id=first.id)
    third = client.responses.create(model=SCRIPT, input="The end", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    asked = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And again"},
        {"role": "assistant", "content": second.output_text},
        {"role": "user", "content": "The end"},
    ]
    whole: Any = client.responses.create(model=SCRIPT, input=asked)  # type: ignore[arg-type]
    assert (third.usage, third.output_text) == (whole.usage, whole.output_text)


def test_a_tool_loop_sends_only_what_the_tool_said(client: OpenAI) -> None:
    first = client.responses.create(model=SCRIPT, input="Weather?", tools=[WEATHER], tool_choice="required")
    (call,) = [item for item in first.output if item.type == "function_call"]
    last = client.responses.create(
        model=SCRIPT,
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
        tools=[WEATHER],
        tool_choice="none",
    )
    assert last.output_text
    kinds = [item.type for item in client.responses.input_items.list(last.id, order="asc")]
    assert kinds == ["message", "function_call", "function_call_output"]


def test_what_was_said_can_be_named_instead_of_being_sent_again(client: OpenAI) -> None:
    """As the AI SDK does with what it has of a response that was kept."""
    first = client.responses.create(model=THINKER, input="Weather?", tools=[WEATHER], tool_choice="required")
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    call: Any = first.output[1]
    named: list[Any] = [{"type": "item_reference", "id": item.id} for item in first.output]
    asked: Any = {"role": "user", "content": "Weather?"}
    said: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    last = client.responses.create(model=THINKER, input=[asked, *named, said], tools=[WEATHER], tool_choice="none")
    whole = client.responses.create(
        model=THINKER, input=[asked, call.to_dict(), said], tools=[WEATHER], tool_choice="none"
    )
    assert (last.usage, last.output_text) == (whole.usage, whole.output_text)
    kinds = [item.type for item in client.responses.input_items.list(last.id, order="asc")]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output"]
    client.responses.delete(first.id)
    with pytest.raises(NotFoundError) as gone:
        client.responses.create(model=THINKER, input=[asked, {"id": first.output[0].id}])  # type: ignore[list-item]
    assert gone.value.param == "input"
    with pytest.raises(BadRequestError) as wrong:
        client.conversations.create(items=[{"id": first.output[0].id}])  # type: ignore[list-item]
    assert (wrong.value.code, wrong.value.param) == ("unsupported_parameter", "items[0]")


def test_its_input_items_are_listed_page_by_page(client: OpenAI) -> None:
    first = client.responses.create(model=SCRIPT, input="Hello")
    second = client.responses.create(
        model=SCRIPT,
        previous_response_id=first.id,
        input=[{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "And again"}],
    )
    items: list[Any] = list(client.responses.input_items.list(second.id, limit=1, order="asc"))
    assert [(item.role, item.content[0].text) for item in items] == [
        ("user", "Hello"),
        ("assistant", first.output_text),
        ("developer", "Be kind."),
        ("user", "And again"),
    ]
    assert [item.id for item in client.responses.input_items.list(second.id)] == [item.id for item in items[::-1]]


def test_a_deleted_response_is_gone_and_nothing_goes_on_from_it(client: OpenAI) -> None:
    first = client.responses.create(model=SCRIPT, input="Hello")
    second = client.responses.create(model=SCRIPT, input="And again", previous_response_id=first.id)
    client.responses.delete(first.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(first.id)
    for gone in (first.id, second.id, "resp_of_nobody"):
        with pytest.raises(BadRequestError) as wrong:
            client.responses.create(model=SCRIPT, input="The end", previous_response_id=gone)
        assert wrong.value.code == "previous_response_not_found"
        assert wrong.value.param == "previous_response_id"


def test_what_was_not_to_be_kept_is_not_there(client: OpenAI) -> None:
    response = client.responses.create(model=SCRIPT, input="Hello", store=False)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(response.id)
    assert json.loads(response.to_json())["store"] is False
