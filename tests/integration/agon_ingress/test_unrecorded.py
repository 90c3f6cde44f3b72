"""Whoever goes on from an answer does so at once: it need not be recorded yet. Here nobody records anything."""

import pytest

from integration.agon_ingress.conftest import MODEL, FakeWorker, Ingress

pytestmark = pytest.mark.servers


async def test_a_response_goes_on_from_one_that_has_just_ended(ingress: Ingress, worker: FakeWorker) -> None:
    client = ingress.client.responses
    first = await client.create(model=MODEL, input="Hi")
    await client.create(model=MODEL, input="And?", previous_response_id=first.id)
    told = [message.text() for message in worker.tellings[1].request.messages or ()]
    assert told == ["Hi", "Hello wörld", "And?"]


async def test_a_conversation_has_what_was_just_said_in_it(ingress: Ingress, worker: FakeWorker) -> None:
    conversation = await ingress.client.conversations.create()
    for text in ("Hi", "And?"):
        await ingress.client.responses.create(model=MODEL, input=text, conversation=conversation.id)
    told = [message.text() for message in worker.tellings[1].request.messages or ()]
    assert told == ["Hi", "Hello wörld", "And?"]


async def test_a_response_reads_as_it_was_answered(ingress: Ingress) -> None:
    first = await ingress.client.responses.create(model=MODEL, input="Hi")
    again = await ingress.client.responses.retrieve(first.id)
    assert again.model_dump() == first.model_dump()
