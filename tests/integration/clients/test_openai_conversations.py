"""Conversations with the official client: items that responses go on from, and add to."""

from typing import Any

import pytest
from openai import BadRequestError, ConflictError, NotFoundError, OpenAI

from integration.clients.conftest import SCRIPT

pytestmark = pytest.mark.servers


def said(client: OpenAI, conversation: str) -> list[tuple[str, str]]:
    items: list[Any] = list(client.conversations.items.list(conversation, order="asc", limit=2))
    return [(item.role, "".join(part.text for part in item.content)) for item in items]


def test_responses_go_on_from_a_conversation_and_add_to_it(client: OpenAI) -> None:
    talk = client.conversations.create(
        items=[{"type": "message", "role": "developer", "content": "Be short."}], metadata={"topic": "greeting"}
    )
    first = client.responses.create(model=SCRIPT, input="Hello", conversation=talk.id)
    assert first.conversation is not None
    assert first.conversation.id == talk.id
    second = client.responses.create(model=SCRIPT, input="And again", conversation=talk.id)
    assert said(client, talk.id) == [
        ("developer", "Be short."),
        ("user", "Hello"),
        ("assistant", first.output_text),
        ("user", "And again"),
        ("assistant", second.output_text),
    ]
    whole = client.responses.create(
        model=SCRIPT,
        input=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "And again"},
        ],
    )
    assert whole.usage == second.usage
    used = [item.id for item in client.responses.input_items.list(second.id, order="asc")]
    everything = [item.id for item in client.conversations.items.list(talk.id, order="asc")]
    assert used == everything[:-1]


def test_a_conversation_is_read_changed_and_deleted(client: OpenAI) -> None:
    talk = client.conversations.create(metadata={"a": "1"})
    assert client.conversations.retrieve(talk.id) == talk
    assert client.conversations.update(talk.id, metadata={"b": "2"}).metadata == {"b": "2"}
    assert client.conversations.retrieve(talk.id).metadata == {"b": "2"}
    assert client.conversations.delete(talk.id).deleted
    with pytest.raises(NotFoundError):
        client.conversations.retrieve(talk.id)
    with pytest.raises(NotFoundError):
        client.responses.create(model=SCRIPT, input="Hello", conversation=talk.id)


def test_items_are_added_read_and_deleted_also_those_of_a_response(client: OpenAI) -> None:
    talk = client.conversations.create()
    (added,) = client.conversations.items.create(talk.id, items=[{"role": "user", "content": "Hello"}]).data
    assert client.conversations.items.retrieve(added.id or "", conversation_id=talk.id) == added
    response = client.responses.create(model=SCRIPT, input="And again", conversation=talk.id)
    client.conversations.items.delete(response.output[0].id or "", conversation_id=talk.id)
    assert said(client, talk.id) == [("user", "Hello"), ("user", "And again")]
    client.conversations.items.delete(added.id or "", conversation_id=talk.id)
    assert said(client, talk.id) == [("user", "And again")]
    for gone in (added.id or "", response.output[0].id or ""):
        with pytest.raises(NotFoundError):
            client.conversations.items.retrieve(gone, conversation_id=talk.id)
    assert client.responses.retrieve(response.id) == response


def test_a_deleted_response_stays_in_its_conversation(client: OpenAI) -> None:
    talk = client.conversations.create()
    response = client.responses.create(model=SCRIPT, input="Hello", conversation=talk.id)
    client.responses.delete(response.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(response.id)
    assert said(client, talk.id) == [("user", "Hello"), ("assistant", response.output_text)]


def test_one_response_at_a_time(client: OpenAI) -> None:
    talk = client.conversations.create()
    slow = {"x-agon-script": "tokens=200,delay=0.1"}
    running = client.responses.create(
        model=SCRIPT, input="Hello", conversation=talk.id, background=True, extra_headers=slow
    )
    with pytest.raises(ConflictError) as locked:
        client.responses.create(model=SCRIPT, input="And again", conversation=talk.id)
    assert locked.value.code == "conversation_locked"
    assert client.responses.cancel(running.id).status == "cancelled"
    client.responses.create(model=SCRIPT, input="And again", conversation=talk.id)


def test_what_does_not_go_together_is_refused(client: OpenAI) -> None:
    talk = client.conversations.create()
    response = client.responses.create(model=SCRIPT, input="Hello")
    more: tuple[dict[str, Any], ...] = ({"previous_response_id": response.id}, {"store": False})
    for fields in more:
        with pytest.raises(BadRequestError) as wrong:
            client.responses.create(model=SCRIPT, input="Hello", conversation=talk.id, **fields)
        assert wrong.value.param == "conversation"
