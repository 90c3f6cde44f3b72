"""The Responses API with the official client."""

import json
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

from integration.clients.conftest import NANO, SCRIPT, THINKER

pytestmark = pytest.mark.servers

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def test_a_response(client: OpenAI) -> None:
    response = client.responses.create(model=SCRIPT, input="Hello", instructions="Be short.")
    assert response.status == "completed"
    assert response.output_text == "You said: Hello That is 5 characters."
    assert response.usage is not None
    assert response.usage.output_tokens > 0


def test_a_stream_of_events(client: OpenAI) -> None:
    with client.responses.stream(model=THINKER, input="Hello") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == sorted(event.sequence_number for event in events)
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output_text == "You said: Hello That is 5 characters."


@pytest.mark.parametrize("model", [SCRIPT, THINKER, NANO])
def test_a_tool_loop(client: OpenAI, model: str) -> None:
    items: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
    first = client.responses.create(
        model=model, input=items, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, temperature=0
    )
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert "city" in json.loads(call.arguments)
    items += [
        *(item.model_dump(exclude_none=True) for item in first.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    last = client.responses.create(model=model, input=items, tools=[WEATHER], tool_choice="none")
    assert last.output_text


class Person(BaseModel):
    name: str


def test_a_response_parsed_into_a_type(client: OpenAI) -> None:
    response = client.responses.parse(model=NANO, input="Write JSON with name Anna.", text_format=Person, temperature=0)
    assert isinstance(response.output_parsed, Person)


def test_what_the_model_refuses_is_named_as_responses_name_it(client: OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(BadRequestError) as long:
            client.responses.create(model=NANO, input="word " * 3000, stream=stream)
        assert (long.value.code, long.value.param) == ("context_length_exceeded", "input")


def test_a_conversation_that_does_not_fit_goes_on_without_its_oldest_turns_if_it_may(client: OpenAI) -> None:
    turns: list[Any] = [
        {"role": role, "content": f"Spell plant, for the {n}th time, and then again."}
        for n in range(60)
        for role in ("user", "assistant")
    ]
    last: Any = {"role": "user", "content": "Hello!"}
    with pytest.raises(BadRequestError):
        client.responses.create(model=NANO, input=[*turns, last], truncation="disabled")
    response = client.responses.create(
        model=NANO, input=[*turns, last], instructions="Be short.", truncation="auto", max_output_tokens=50
    )
    assert response.truncation == "auto"
    assert response.usage is not None
    assert 700 < response.usage.input_tokens <= 1024 - 50


def test_a_limit_makes_it_incomplete(client: OpenAI) -> None:
    response = client.responses.create(model=NANO, input="Tell me a story.", max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
