"""What another server is asked, and what its log-probabilities mean here."""

from typing import Any

import pytest

from agon.backends.dialect import as_openai, logprobs_of
from agon.engine.events import Alternative, TokenLogprob
from agon.errors import UnsupportedParameter
from agon.messages import GenerationRequest


def asked(**fields: Any) -> dict[str, Any]:
    least = {"request_id": "r1", "model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    _, body = as_openai(GenerationRequest.model_validate({**least, **fields}), "theirs")
    return {name: body[name] for name in body.keys() - {"messages", "model", "stream", "stream_options"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1, "typical_p": 0.7, "seed": 1},
        {"presence_penalty": 1.0, "frequency_penalty": -1.0, "repetition_penalty": 1.2, "logit_bias": {"7": 5.0}},
        {"stop": ["a"], "stop_token_ids": [3], "min_tokens": 2, "ignore_eos": True, "max_tokens": 9, "n": 2},
        {"logprobs": True, "top_logprobs": 4},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_every_sampling_field_is_passed_on_under_its_name(fields: dict[str, Any]) -> None:
    assert asked(**fields) == fields


def test_what_is_not_asked_for_is_left_out() -> None:
    assert asked(response_format={"type": "text"}, presence_penalty=0, logprobs=False) == {}


@pytest.mark.parametrize(
    ("form", "theirs"),
    [
        ({"type": "regex", "pattern": "a+"}, {"regex": "a+"}),
        ({"type": "choice", "choices": ["a", "b"]}, {"choice": ["a", "b"]}),
        ({"type": "grammar", "grammar": 'start: "a"'}, {"grammar": 'start: "a"'}),
    ],
)
def test_forms_that_openai_lacks_have_vllms_names(form: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert asked(response_format=form) == {"structured_outputs": theirs}


def test_a_schema_is_passed_on_as_it_is() -> None:
    schema = {"name": "a", "schema": {"type": "object"}, "strict": True}
    sent = asked(response_format={"type": "json_schema", "json_schema": schema})
    assert sent["response_format"]["json_schema"].items() >= schema.items()


def test_a_completion_counts_its_alternatives() -> None:
    assert asked(kind="completion", messages=None, prompt=[1, 2], logprobs=True, top_logprobs=4) == {
        "prompt": [1, 2], "logprobs": 4
    }  # fmt: skip


@pytest.mark.parametrize("fields", [{"prompt_logprobs": 0}, {"best_of": 2}])
def test_what_cannot_come_back_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        asked(**fields)
    assert caught.value.param in fields


def test_both_ways_of_writing_log_probabilities_are_read() -> None:
    chat = {"content": [{"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": [
        {"token": "b", "logprob": -2, "bytes": None}
    ]}]}  # fmt: skip
    assert logprobs_of(chat) == (TokenLogprob("a", -1.0, b"a", (Alternative("b", -2.0, None),)),)
    completion = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"b": -2.0}], "text_offset": [0]}
    assert logprobs_of(completion) == (TokenLogprob("a", -1.0, b"a", (Alternative("b", -2.0, b"b"),)),)
    assert logprobs_of(None) is None


def test_an_embedding_asks_for_its_vectors_as_base64() -> None:
    least = {"request_id": "r1", "model": "m", "kind": "embedding"}
    path, body = as_openai(GenerationRequest.model_validate({**least, "inputs": ["a", [1, 2]]}), "theirs")
    assert (path, body) == (
        "embeddings", {"model": "theirs", "input": ("a", (1, 2)), "encoding_format": "base64"}
    )  # fmt: skip
    _, body = as_openai(GenerationRequest.model_validate({**least, "prompt": "a", "dimensions": 4}), "theirs")
    assert (body["input"], body["dimensions"]) == (("a",), 4)
