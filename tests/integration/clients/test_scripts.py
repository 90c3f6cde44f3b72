"""A client's whole suite needs no model: the scripted backend says what the model's name or, in test mode, the header
`x-agon-script` tells it, of everything that a model can say or do."""

import json
import time
from typing import Any

import pytest
from openai import APIError, InternalServerError, OpenAI
from openai.types.chat import ChatCompletion

from integration.clients.conftest import BROKEN, SCRIPT, THINKER
from integration.clients.test_openai_chat import HELLO, WEATHER

pytestmark = pytest.mark.servers


def ask(client: OpenAI, script: str | None = None, model: str = SCRIPT, **fields: Any) -> ChatCompletion:
    headers = {} if script is None else {"x-agon-script": script}
    answer: ChatCompletion = client.chat.completions.create(
        model=model, messages=HELLO, extra_headers=headers, **fields
    )
    return answer


def test_tokens_and_their_number(client: OpenAI) -> None:
    answer = ask(client, "text=One two three,tokens=7")
    assert answer.choices[0].message.content == "One two threeOne two threeOne "
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
    assert ask(client, "mode=echo").choices[0].message.content == "Hello there"


def test_calls_of_tools_as_many_as_the_script_has(client: OpenAI) -> None:
    def call(city: str) -> str:
        return f"<tool_call>{json.dumps({'name': 'get_weather', 'arguments': {'city': city}})}</tool_call>"

    script = "text=" + (call("Rome") + call("Oslo")).replace(",", "\\,")
    answer = ask(client, script, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls or ()
    assert [json.loads(one.function.arguments) for one in calls] == [{"city": "Rome"}, {"city": "Oslo"}]  # type: ignore[union-attr]


def test_json(client: OpenAI) -> None:
    said = ask(client, 'text={"a": 1\\, "b": [2]}').choices[0].message.content
    assert json.loads(said or "") == {"a": 1, "b": [2]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "required": ["a"]}}}
    assert "a" in json.loads(ask(client, response_format=form).choices[0].message.content or "")


@pytest.mark.parametrize(("model", "script"), [(THINKER, None), (SCRIPT, "reasoning=Let me think.")])
def test_reasoning_by_the_model_s_name_or_the_header(client: OpenAI, model: str, script: str | None) -> None:
    answer = ask(client, script, model)
    assert answer.choices[0].message.reasoning_content == "Let me think."  # type: ignore[attr-defined]
    assert answer.choices[0].message.content == "You said: Hello there That is 11 characters."
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 4  # its three words, and the tag behind them


def test_delays_before_the_first_token_and_between_tokens(client: OpenAI) -> None:
    began = time.monotonic()
    ask(client, "text=a b c,first_delay=0.3,delay=0.1")
    assert time.monotonic() - began >= 0.4  # it may take longer, and never less


@pytest.mark.parametrize(("model", "script"), [(BROKEN, None), (SCRIPT, "fail_at=2")])
def test_a_failure_amid_the_stream(client: OpenAI, model: str, script: str | None) -> None:
    headers = {} if script is None else {"x-agon-script": script}
    stream = client.chat.completions.create(model=model, messages=HELLO, stream=True, extra_headers=headers)
    said: list[str | None] = []
    with pytest.raises(APIError, match="fails at token 2"):
        said.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "".join(filter(None, said)) == "You said: "


def test_a_failure_before_the_stream(client: OpenAI) -> None:
    with pytest.raises(InternalServerError, match="fails at token 0"):
        client.chat.completions.create(
            model=SCRIPT, messages=HELLO, stream=True, extra_headers={"x-agon-script": "fail_at=0"}
        )
