"""A response's events: their order, their numbers, and that the last one has what a whole answer says."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response as TheirResponse
from openai.types.responses import ResponseStreamEvent as TheirEvent
from pydantic import TypeAdapter

from agon.engine.events import Alternative, TokenLogprob
from agon.errors import EngineFailed, InvalidRequest
from agon.messages import ModelCard, now
from agon.stream.frames import Delta, End
from agon_ingress.asking.endpoint import Ask
from agon_ingress.asking.telling import Head
from agon_ingress.bodies.fields import read
from agon_ingress.responses.endpoint import RESPONSES
from agon_ingress.responses.telling import ResponseStream, WholeResponse
from agon_ingress.responses.types import Response, ResponseRequest
from agon_ingress.settings import IngressSettings

CARD = ModelCard(
    model="m", digest="sha256:0", backend="scripted", context_length=64, created_at=now(), tool_format="hermes",
    reasoning="think", temperature=0.3, top_p=0.9,
)  # fmt: skip
ASK = Ask(Head("resp_1", 123, "m", "fp"), "default", now() + timedelta(minutes=1), CARD, IngressSettings())
END = End("finished", 7, 5, 2, 0.0)
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
EVENTS: TypeAdapter[Any] = TypeAdapter(TheirEvent)


def asked(**fields: Any) -> ResponseRequest:
    return read(ResponseRequest, {"model": "m", "input": "Hello?", "tools": [TOOL], **fields})[0]


def stream(deltas: Sequence[Delta], end: bool = True, **fields: Any) -> list[dict[str, Any]]:
    writer = RESPONSES.streamed(asked(stream=True, **fields), ASK)
    assert isinstance(writer, ResponseStream)
    data = writer.begin() + b"".join(writer.delta(0, delta) for delta in deltas)
    data += writer.end([END]) if end else writer.error(EngineFailed("it broke"))
    told = []
    for event in data.decode().removesuffix("\n\n").split("\n\n"):
        name, body = event.split("\n")
        told.append(json.loads(body.removeprefix("data: ")))
        assert name == f"event: {told[-1]['type']}"
        EVENTS.validate_python(told[-1])
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    return told


def whole(deltas: Sequence[Delta], **fields: Any) -> dict[str, Any]:
    collector = RESPONSES.whole(asked(**fields), ASK)
    assert isinstance(collector, WholeResponse)
    for delta in deltas:
        collector.delta(0, delta)
    told: dict[str, Any] = json.loads(collector.body([END]).model_dump_json(by_alias=True))
    TheirResponse.model_validate(told, strict=True)
    return told


def test_what_a_response_said_can_be_sent_back_whatever_items_it_has() -> None:
    said = whole(ALL)["output"]
    assert [item["type"] for item in said] == ["reasoning", "message", "function_call"]
    assert len(asked(input=[{"role": "user", "content": "Hello?"}, *said]).input) == 4


def test_the_input_may_be_left_out_where_something_goes_on_only() -> None:
    for more in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}):
        assert asked(input=None, **more) == asked(input=[], **more)
    for nothing, code in ((None, "missing_required_parameter"), ([], "empty_array")):
        with pytest.raises(InvalidRequest) as caught:
            asked(input=nothing)
        assert (caught.value.param, caught.value.code) == ("input", code)


def test_null_within_options_is_as_good_as_left_out() -> None:
    options = {"text": {"format": None, "verbosity": None}, "stream_options": {"include_obfuscation": None}}
    assert asked(stream=True, **options) == asked(stream=True, text={}, stream_options={})


def test_a_response_says_what_it_was_drawn_with() -> None:
    told = whole(TEXT)
    assert (told["temperature"], told["top_p"], told["text"]) == (0.3, 0.9, {"format": {"type": "text"}})
    told = whole(TEXT, temperature=0, top_p=0.5, text={"verbosity": "low"})
    assert (told["temperature"], told["top_p"], told["text"]["verbosity"]) == (0, 0.5, "low")
    assert Response.model_validate({**told, "temperature": None}).temperature == 1.0, "one of an earlier version"


TEXT = [Delta((1,), "Hi"), Delta((2,), " there"), Delta((3,), "", "stop")]
ALL = [
    Delta((1, 2), "<think>Rome?</think>One moment."),
    Delta((3,), '<tool_call>{"name": "get_weather", "arguments": {"city": '),
    Delta((4,), '"Rome"}}</tool_call>', "stop"),
]


def test_the_events_of_text_come_in_openais_order() -> None:
    told = stream(TEXT)
    assert [event["type"] for event in told] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert told[6]["text"] == "Hi there"
    last = told[-1]["response"]
    assert last["status"] == "completed"
    assert last["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }


def test_reasoning_text_and_calls_are_items_of_their_own() -> None:
    told = stream(ALL)
    assert [event["type"].removeprefix("response.") for event in told[2:-1]] == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
    ]  # fmt: skip
    output = told[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call"]
    assert output[2]["arguments"] == '{"city": "Rome"}'
    assert len({item["id"] for item in output}) == 3


@pytest.mark.parametrize("deltas", [TEXT, ALL, [Delta((), "", "stop")]])
def test_the_last_event_has_what_a_whole_answer_says(deltas: list[Delta]) -> None:
    streamed, plain = stream(deltas)[-1]["response"], whole(deltas)
    assert {**streamed, "completed_at": 0} == {**plain, "completed_at": 0}


def test_an_answer_that_reached_its_limit_is_incomplete() -> None:
    told = stream([Delta((1,), "Hi", "length")], max_output_tokens=1)
    assert told[-1]["type"] == "response.incomplete"
    assert told[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert told[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_failure_amid_the_answer_is_an_error_and_then_failed() -> None:
    told = stream(TEXT[:1], end=False)
    assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
    failed = told[-1]["response"]
    assert failed["error"] == {"code": "server_error", "message": "it broke"}
    assert failed["output"][0]["content"][0]["text"] == "Hi"


def test_log_probabilities_are_told_where_they_were_asked_for() -> None:
    one = TokenLogprob("Hi", -0.5, b"Hi", (Alternative("Hi", -0.5, b"Hi"),))
    deltas = [Delta((1,), "Hi", None, (one,)), Delta((2,), "", "stop", (one,))]
    told = stream(deltas, include=["message.output_text.logprobs"], top_logprobs=1)
    expected = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}
    assert told[4]["logprobs"] == [{**expected, "top_logprobs": [expected]}]
    assert told[-1]["response"]["output"][0]["content"][0]["logprobs"] == told[4]["logprobs"]


@given(
    st.lists(st.sampled_from(["<think>", "</think>", '<tool_call>{"name": "get_weather"', "}", "a", " "]), max_size=9)
)
def test_every_item_that_begins_is_completed(said: list[str]) -> None:
    told = stream([*(Delta((1,), text) for text in said), Delta((), "", "stop")])
    added = [event["output_index"] for event in told if event["type"] == "response.output_item.added"]
    done = [event["output_index"] for event in told if event["type"] == "response.output_item.done"]
    assert added == done == list(range(len(added)))
    assert [event["item"] for event in told if event["type"] == "response.output_item.done"] == told[-1]["response"][
        "output"
    ]


def test_items_become_a_chat() -> None:
    (request,) = RESPONSES.generations(
        asked(
            instructions="Be short.",
            input=[
                {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                 "content": [{"type": "output_text", "text": "One moment.", "annotations": []}]},
                {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
            ],
            text={"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}},
            tool_choice={"type": "function", "name": "get_weather"},
            reasoning={"effort": "none"},
            max_output_tokens=9,
        ),
        ASK,
    )  # fmt: skip
    assert request.messages is not None
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool"]
    assert request.messages[2].tool_calls is not None
    assert request.messages[2].tool_calls[0].function.name == "get_weather"
    assert request.messages[3].tool_call_id == "c1"
    assert request.response_format is not None
    assert request.response_format.type == "json_schema"
    assert request.chat_template_kwargs == {"reasoning_effort": "none", "enable_thinking": False}
    assert request.limit == 9
