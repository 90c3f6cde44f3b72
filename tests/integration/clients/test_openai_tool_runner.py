"""The official client's tool runner: it asks, runs our functions, and goes on until the model has answered."""

from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI, pydantic_function_tool, pydantic_responses_function_tool
from openai.lib.responses_tool_runner import (
    AsyncRegisteredFunction,
    AsyncResponsesToolRunner,
    RegisteredFunction,
    ResponsesToolRunner,
)
from pydantic import BaseModel

from integration.clients.conftest import NANO, SCRIPT, Api

pytestmark = pytest.mark.servers

CALLS = {"x-agon-script": "mode=call"}
"""The scripted model calls the tool, then says what the tool has said."""


class GetWeather(BaseModel):
    """The weather in a city."""

    city: str


TOOL = pydantic_responses_function_tool(GetWeather, name="get_weather")


@pytest.mark.parametrize("stream", [False, True])
def test_the_runner_calls_a_function_and_gets_an_answer(client: OpenAI, stream: bool) -> None:
    asked: list[str] = []
    params: Any = {"model": SCRIPT, "input": "What is the weather in Rome?", "extra_headers": CALLS}
    response = weather(asked).run(client, params, max_steps=3, stream=stream)
    assert len(asked) == 1
    assert "sunny" in response.output_text


def test_a_model_decides_by_itself_what_to_call_and_with_what(client: OpenAI) -> None:
    asked: list[str] = []
    params: Any = {"model": NANO, "input": "What is the weather in Rome?", "temperature": 0}
    response = weather(asked).run(client, params, max_steps=3, stream=True)
    assert asked == ["Rome"]
    assert response.output_text  # what it makes of it is beyond so small a model


def weather(asked: list[str]) -> ResponsesToolRunner:
    """A runner with one function, that notes the cities that it is asked about."""

    def get_weather(arguments: GetWeather) -> str:
        asked.append(arguments.city)
        return "It is sunny."

    return ResponsesToolRunner(functions=[RegisteredFunction.from_tool(TOOL, execute=get_weather)])


async def test_the_asynchronous_runner(api: Api) -> None:
    asked: list[str] = []

    async def get_weather(arguments: GetWeather) -> str:
        asked.append(arguments.city)
        return "It is sunny."

    runner = AsyncResponsesToolRunner(functions=[AsyncRegisteredFunction.from_tool(TOOL, execute=get_weather)])
    params: Any = {"model": SCRIPT, "input": "What is the weather in Rome?", "extra_headers": CALLS}
    async with AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none", _strict_response_validation=True) as client:
        response = await runner.run(client, params, max_steps=3, stream=True)
    assert len(asked) == 1
    assert "sunny" in response.output_text


def test_a_chat_s_calls_are_parsed_into_types(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=SCRIPT,
        messages=[{"role": "user", "content": "What is the weather in Rome?"}],
        tools=[pydantic_function_tool(GetWeather, name="get_weather")],
        extra_headers=CALLS,
    )
    (call,) = answer.choices[0].message.tool_calls or ()
    assert isinstance(call.function.parsed_arguments, GetWeather)
