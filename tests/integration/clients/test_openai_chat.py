"""Chat completions with the official client, as a user writes it."""

import json
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError, OpenAI
from pydantic import BaseModel

from integration.clients.conftest import BROKEN, NANO, SCRIPT, THINKER, Api

pytestmark = pytest.mark.servers

HELLO: Any = [{"role": "user", "content": "Hello there"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def test_a_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=SCRIPT, messages=HELLO)
    assert answer.choices[0].message.content == "You said: Hello there That is 11 characters."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_usage_tells_what_of_a_prompt_was_found_in_the_cache(client: OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "A prompt that no other test has, and long enough for some pages. " * 4}]

    def cached() -> int:
        usage = client.chat.completions.create(model=NANO, messages=asked, max_tokens=1).usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens is not None
        assert usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens
        return usage.prompt_tokens_details.cached_tokens

    assert cached() < 16
    assert cached() >= 48


def test_a_stream(client: OpenAI) -> None:
    with client.chat.completions.stream(model=SCRIPT, messages=HELLO) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content is not None


async def test_the_asynchronous_client(api: Api) -> None:
    async with AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none", _strict_response_validation=True) as client:
        stream = await client.chat.completions.create(
            model=SCRIPT, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


class Person(BaseModel):
    name: str
    age: int


@pytest.mark.parametrize("model", [SCRIPT, NANO])
def test_an_answer_parsed_into_a_type(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "Write JSON with name Anna and age 30."}],
        response_format=Person,
        max_completion_tokens=100,
        seed=1,
    )
    assert isinstance(answer.choices[0].message.parsed, Person)


def test_json_mode(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=NANO, messages=HELLO, response_format={"type": "json_object"}, max_tokens=200, temperature=0, seed=1
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


@pytest.mark.parametrize("model", [SCRIPT, NANO])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_is_required_follows_the_tools_schema(client: OpenAI, model: str, choice: Any) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Hello"}],
        tools=[WEATHER],
        tool_choice=choice,
        parallel_tool_calls=False,
        max_completion_tokens=200,
        seed=3,
    )
    choice = answer.choices[0]
    (call,) = choice.message.tool_calls or ()
    assert choice.finish_reason in ("tool_calls", "length")
    if choice.finish_reason == "tool_calls":
        assert list(json.loads(call.function.arguments)) == ["city"]


@pytest.mark.parametrize("model", [SCRIPT, NANO])
def test_a_tool_loop(client: OpenAI, model: str) -> None:
    """The model calls a tool, gets what it said, and answers."""
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
    first = client.chat.completions.create(
        model=model,
        messages=messages,
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
    )
    said = first.choices[0].message
    assert said.content is None
    (call,) = said.tool_calls or ()
    assert call.function.name == "get_weather"
    city = json.loads(call.function.arguments)["city"]
    messages += [
        said.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": f"It is sunny in {city}."},
    ]
    last = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER], tool_choice="none", seed=1)
    assert last.choices[0].message.content


def test_calls_come_as_deltas_in_a_stream(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=SCRIPT, messages=HELLO, tools=[WEATHER], tool_choice="required", stream=True
    )
    deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
    assert deltas[0].function is not None
    assert deltas[0].function.name == "get_weather"
    assert all(delta.id is None for delta in deltas[1:])
    assert "city" in json.loads("".join(d.function.arguments or "" for d in deltas if d.function))


def test_reasoning_is_kept_apart(client: OpenAI) -> None:
    message = client.chat.completions.create(model=THINKER, messages=HELLO).choices[0].message
    assert message.reasoning_content == "Let me think."  # type: ignore[attr-defined]  # as DeepSeek and vLLM have it
    assert message.content == "You said: Hello there That is 11 characters."


@pytest.mark.parametrize("model", [SCRIPT, NANO])
def test_log_probabilities(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=HELLO, logprobs=True, top_logprobs=2, seed=1)
    told = answer.choices[0].logprobs
    assert told is not None
    assert told.content is not None
    assert answer.usage is not None
    assert len(told.content) == answer.usage.completion_tokens
    text = b"".join(bytes(token.bytes or ()) for token in told.content).decode()
    assert text == answer.choices[0].message.content
    assert all(token.logprob <= 0 and 1 <= len(token.top_logprobs) <= 2 for token in told.content)


@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"logprobs": True}, {"tools": [WEATHER], "tool_choice": "required"}])
def test_a_stream_says_what_the_whole_answer_says(client: OpenAI, fields: Any) -> None:
    asked: Any = {"model": NANO, "messages": HELLO, "seed": 7, "max_completion_tokens": 60, **fields}
    whole = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        told = stream.get_final_completion()
    for one, other in zip(whole.choices, told.choices, strict=True):
        assert (one.message.content or "") == (other.message.content or "")
        assert one.finish_reason == other.finish_reason
        assert [c.function.arguments for c in one.message.tool_calls or ()] == [
            c.function.arguments for c in other.message.tool_calls or ()
        ]
    assert whole.usage is not None
    assert told.usage is not None
    assert whole.usage.completion_tokens == told.usage.completion_tokens


def test_errors_are_the_clients_exceptions(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as unknown:
        client.chat.completions.create(model="nothing", messages=HELLO)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(BadRequestError) as wrong:
        client.chat.completions.create(model=SCRIPT, messages=HELLO, temperature=9)
    assert wrong.value.param == "temperature"
    with pytest.raises(BadRequestError) as long:
        client.chat.completions.create(model=NANO, messages=[{"role": "user", "content": "word " * 3000}])
    assert (long.value.code, long.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(InternalServerError):
        client.chat.completions.create(model=BROKEN, messages=HELLO)
    stream = client.chat.completions.create(model=BROKEN, messages=HELLO, stream=True)
    with pytest.raises(APIError, match="the script fails"):
        list(stream)


def test_a_script_can_be_chosen_by_a_header_in_test_mode(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=SCRIPT, messages=HELLO, extra_headers={"x-agon-script": "text=Something else"}
    )
    assert answer.choices[0].message.content == "Something else"


def test_models_are_listed_and_found_also_with_a_slash(client: OpenAI) -> None:
    assert {SCRIPT, THINKER} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(THINKER).id == THINKER
    with pytest.raises(NotFoundError):
        client.moderations.create(input="Is this bad?")
