"""Whatever happens to a worker, its requests go on elsewhere, and nobody can tell from the text."""


import pytest

from agon.bus import topic_admin
from agon.messages import GenerationCompleted
from support.workers import Client

from .conftest import StartWorker

pytestmark = [pytest.mark.servers, pytest.mark.kill]

MODEL = "talker"
TOKENS = 60
SLOW = f"{MODEL}=scripted:mode=random,tokens={TOKENS},delay=0.05"


def text(completion: GenerationCompleted) -> str:
    content = completion.choices[0].message.content
    assert content is not None
    return content


async def test_a_record_produced_before_the_first_consumer_exists_is_served(
    client: Client, start_worker: StartWorker
) -> None:
    await topic_admin.apply_model(client.place.kafka_url, client.place.topics.prefix, MODEL)
    request_id = await client.ask(MODEL, "hello")
    start_worker("w1", f"{MODEL}=scripted:mode=echo")
    (completion,) = await client.completed(request_id)
    assert completion.status == "finished"
    assert text(completion) == "hello"
