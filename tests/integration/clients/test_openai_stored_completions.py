"""Stored chat completions with the official client: `store=True`, then list, retrieve, update, delete."""

import uuid
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from integration.clients.conftest import BROKEN, NANO, SCRIPT, THINKER
from integration.clients.test_openai_chat import WEATHER

pytestmark = pytest.mark.servers

HELLO: Any = [{"role": "user", "content": "Hello there"}]


def test_a_stored_completion_is_what_was_answered(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=SCRIPT, messages=HELLO, store=True, metadata={"topic": "greeting"})
    assert client.chat.completions.retrieve(answer.id) == answer


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (NANO, {"logprobs": True, "top_logprobs": 2, "n": 2, "seed": 1, "max_tokens": 20}),
        (SCRIPT, {"tools": [WEATHER], "tool_choice": "required"}),
        (THINKER, {}),
    ],
)
def test_also_with_calls_reasoning_and_log_probabilities(client: OpenAI, model: str, fields: Any) -> None:
    answer = client.chat.completions.create(model=model, messages=HELLO, store=True, **fields)
    assert client.chat.completions.retrieve(answer.id) == answer


def test_a_stream_is_stored_as_a_whole(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model=SCRIPT, messages=HELLO, store=True, stream=True))
    stored = client.chat.completions.retrieve(chunks[0].id)
    assert stored.choices[0].message.content == "".join(
        chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices
    )


def test_the_list_goes_page_by_page_and_finds_by_metadata(client: OpenAI) -> None:
    mark = uuid.uuid4().hex
    made = [
        client.chat.completions.create(model=SCRIPT, messages=HELLO, store=True, metadata={"run": mark, "n": str(n)}).id
        for n in range(3)
    ]
    client.chat.completions.retrieve(made[-1])  # the list has what is recorded, and this waits for it
    for order, expected in (("asc", made), ("desc", made[::-1])):
        found = client.chat.completions.list(metadata={"run": mark}, limit=2, order=order)  # type: ignore[arg-type]
        assert [one.id for one in found.data] == expected[:2]
        assert [one.id for one in found] == expected
    assert [one.id for one in client.chat.completions.list(metadata={"run": mark, "n": "1"})] == [made[1]]
    assert not client.chat.completions.list(metadata={"run": mark}, model=NANO).data
    with pytest.raises(BadRequestError, match="NUL"):
        client.chat.completions.list(metadata={"run": "\0"})


def test_metadata_can_be_changed(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=SCRIPT, messages=HELLO, store=True, metadata={"a": "1"})
    changed = client.chat.completions.update(answer.id, metadata={"b": "2"})
    assert changed.metadata == {"b": "2"}
    assert client.chat.completions.retrieve(answer.id) == changed


def test_a_deleted_one_is_gone(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=SCRIPT, messages=HELLO, store=True)
    assert client.chat.completions.delete(answer.id).deleted
    for again in (client.chat.completions.retrieve, client.chat.completions.delete):
        with pytest.raises(NotFoundError):
            again(answer.id)


def test_its_messages_are_what_was_asked(client: OpenAI, lenient: OpenAI) -> None:
    asked: Any = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]},
    ]
    answer = client.chat.completions.create(model=SCRIPT, messages=asked, store=True)
    # The client's type for these says that all of them are the assistant's.
    found = list(lenient.chat.completions.messages.list(answer.id, limit=1))
    assert [(one.role, one.content) for one in found] == [("system", "Be short."), ("user", "Hello there")]
    assert found[0].content_parts is None
    assert [part.text for part in found[1].content_parts or () if part.type == "text"] == ["Hello ", "there"]


def test_what_was_not_stored_or_has_failed_is_not_there(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=SCRIPT, messages=HELLO)
    with pytest.raises(NotFoundError):
        client.chat.completions.retrieve(answer.id)
    stream = client.chat.completions.create(model=BROKEN, messages=HELLO, store=True, stream=True)
    failed = next(iter(stream)).id
    with pytest.raises(NotFoundError):
        client.chat.completions.retrieve(failed)


def test_a_model_that_postgres_could_not_be_asked_for_is_a_mistake_of_the_client(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="model: "):
        client.chat.completions.list(model="a\0b")
