"""Legacy completions and embeddings with the official client."""

from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from integration.clients.conftest import MINILM, NANO, SCRIPT

pytestmark = pytest.mark.servers


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_prompts_of_every_kind_are_answered_in_order(client: OpenAI) -> None:
    one = client.completions.create(model=NANO, prompt="Once upon a time", seed=1, temperature=0)
    several = client.completions.create(model=NANO, prompt=["Once upon a time", "Hello"], n=2, seed=1, temperature=0)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == several.choices[1].text == one.choices[0].text
    assert several.usage is not None
    assert one.usage is not None
    assert several.usage.completion_tokens > one.usage.completion_tokens
    ids = client.completions.create(model=NANO, prompt=[[5, 6, 7], [8, 9]], max_tokens=3)
    assert len(ids.choices) == 2
    alone = client.completions.create(model=NANO, prompt=[5, 6, 7], max_tokens=3)
    assert len(alone.choices) == 1
    assert alone.usage is not None
    assert alone.usage.prompt_tokens == 3


def test_a_stream_of_several_prompts(client: OpenAI, lenient: OpenAI) -> None:
    asked: Any = {"model": NANO, "prompt": ["Once", "Hello"], "seed": 1, "max_tokens": 8}
    whole = client.completions.create(**asked)
    texts = ["", ""]
    for chunk in lenient.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
        if not chunk.choices:
            assert chunk.usage is not None
            assert whole.usage is not None
            assert chunk.usage.total_tokens == whole.usage.total_tokens
    assert texts == [choice.text for choice in whole.choices]


def test_echo_with_logprobs_scores_the_prompt(lenient: OpenAI) -> None:
    """What lm-evaluation-harness does to compare likelihoods."""
    prompt = "The cat sat on the mat."
    answer = lenient.completions.create(model=NANO, prompt=prompt, echo=True, logprobs=1, max_tokens=1, temperature=0)
    choice = answer.choices[0]
    assert choice.text.startswith(prompt)
    told = choice.logprobs
    assert told is not None
    assert told.tokens is not None
    assert told.token_logprobs is not None
    assert told.top_logprobs is not None
    assert told.text_offset is not None
    assert answer.usage is not None
    assert len(told.tokens) == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert told.token_logprobs[0] is None
    assert all(logprob <= 0 for logprob in told.token_logprobs[1:])
    for token, offset in zip(told.tokens, told.text_offset, strict=True):
        assert choice.text[offset : offset + len(token)] in (token, "")


def test_a_suffix_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.completions.create(model=SCRIPT, prompt="x", suffix="y")
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "suffix")


def test_embeddings_as_numbers_and_as_base64(client: OpenAI, lenient: OpenAI) -> None:
    sentences = ["The cat sits outside", "The cat is outdoors", "A man is playing guitar"]
    # The client asks for base64 by itself.
    told = lenient.embeddings.create(model=MINILM, input=sentences)
    assert [len(one.embedding) for one in told.data] == [384] * 3
    numbers = client.embeddings.create(model=MINILM, input=sentences, encoding_format="float")
    for one, other in zip(told.data, numbers.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    cat, same, other = (one.embedding for one in told.data)
    assert cosine(cat, same) > 0.5 > cosine(cat, other)
    assert told.usage.prompt_tokens == told.usage.total_tokens > 0


def test_many_inputs_come_back_in_order(lenient: OpenAI) -> None:
    """More than one record on Kafka carries."""
    sentences = [f"sentence number {number}" for number in range(70)]
    together = lenient.embeddings.create(model=MINILM, input=sentences, dimensions=16)
    assert [one.index for one in together.data] == list(range(70))
    alone = lenient.embeddings.create(model=MINILM, input=sentences[69], dimensions=16)
    assert alone.data[0].embedding == pytest.approx(together.data[69].embedding, abs=1e-5)


def test_a_model_is_asked_only_for_what_it_was_made_for(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="not for embeddings"):
        client.embeddings.create(model=NANO, input="x")
    with pytest.raises(BadRequestError, match="not for chats"):
        client.chat.completions.create(model=MINILM, messages=[{"role": "user", "content": "x"}])


@pytest.mark.parametrize(
    ("model", "prompt", "n"),
    [(NANO, "The opposite of hot is", 1), (NANO, [72, 105], 1), (NANO, "Two", 2), (SCRIPT, "Hello, you", 1)],
)
def test_a_prompt_alone_is_echoed_and_scored_and_nothing_is_generated(
    lenient: OpenAI, model: str, prompt: Any, n: int
) -> None:
    asked: Any = {"model": model, "prompt": prompt, "n": n, "max_tokens": 0, "echo": True, "logprobs": 1}
    answer = lenient.completions.create(**asked)
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.usage.total_tokens) == (0, answer.usage.prompt_tokens)
    for whole in answer.choices:
        assert whole.finish_reason == "length"
        assert whole.logprobs is not None
        assert "".join(whole.logprobs.tokens or ()) == whole.text
        assert whole.text == prompt or not isinstance(prompt, str)
        assert len(whole.logprobs.token_logprobs or ()) == answer.usage.prompt_tokens
    streamed = list(lenient.completions.create(stream=True, stream_options={"include_usage": True}, **asked))
    assert streamed[-1].usage == answer.usage
    told = [chunk.choices[0].text for chunk in streamed if chunk.choices and not chunk.choices[0].index]
    assert "".join(told) == answer.choices[0].text
    # The scores are those of a prompt that goes on.
    further = lenient.completions.create(**asked | {"max_tokens": 1, "n": 1}).choices[0].logprobs
    first = answer.choices[0].logprobs
    assert first is not None
    assert further is not None
    assert (further.token_logprobs or [])[1:-1] == pytest.approx((first.token_logprobs or [])[1:], abs=1e-4)


def test_a_prompt_without_an_echo_needs_no_scores(client: OpenAI) -> None:
    """There would be nothing to tell."""
    with pytest.raises(BadRequestError, match="only with `echo: true`"):
        client.completions.create(model=NANO, prompt="Hello", max_tokens=0)
