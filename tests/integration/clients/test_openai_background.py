"""Background responses with the official client: polled, followed, cancelled; and an ingress that dies."""

import time
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types.responses import Response

from integration.clients.conftest import BROKEN, NANO, SCRIPT, THINKER, Api

pytestmark = pytest.mark.servers


def script(steps: str) -> dict[str, str]:
    return {"x-agon-script": steps}


def ended(client: OpenAI, response: Response, within: float = 300) -> Response:
    """Poll, as OpenAI's documentation does."""
    until = time.monotonic() + within
    while response.status in ("queued", "in_progress"):
        assert time.monotonic() < until, response.status
        time.sleep(0.05)
        response = client.responses.retrieve(response.id)
    return response


def test_a_background_response_is_polled(client: OpenAI) -> None:
    response = client.responses.create(model=SCRIPT, input="Hello", background=True)
    assert (response.status, response.background, response.output) == ("queued", True, [])
    done = ended(client, response)
    assert (done.status, done.output_text) == ("completed", "You said: Hello That is 5 characters.")
    whole = client.responses.create(model=SCRIPT, input="Hello")
    assert done.usage == whole.usage


def test_one_that_fails_says_so(client: OpenAI) -> None:
    done = ended(client, client.responses.create(model=BROKEN, input="Hello", background=True))
    assert done.status == "failed"
    assert done.error is not None
    assert (done.error.code, done.error.message) == ("server_error", "the script fails at token 2")
    assert done.output_text, "as far as it came"
    done = ended(client, client.responses.create(model=NANO, input="word " * 3000, background=True))
    assert (done.status, done.output) == ("failed", [])
    assert done.error is not None
    assert done.error.code == "invalid_prompt"
    assert "the model's context is 1024" in done.error.message


@pytest.mark.parametrize("when", ["before its first token", "amid its answer"])
def test_a_cancelled_one_stops_in_the_engine(client: OpenAI, when: str) -> None:
    slow = "tokens=1000,delay=0.05" + (",first_delay=30" if when == "before its first token" else "")
    response = client.responses.create(model=SCRIPT, input="Hello", background=True, extra_headers=script(slow))
    if when == "amid its answer":
        with client.responses.retrieve(response.id, stream=True) as stream:
            next(event for event in stream if event.type == "response.output_text.delta")
    cancelled = client.responses.cancel(response.id)
    assert cancelled.status == "cancelled"
    until = time.monotonic() + 60
    while (told := client.responses.retrieve(response.id)).usage is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert told.status == "cancelled"
    assert told.usage.output_tokens < 1000  # what the engine has counted when it stopped
    assert client.responses.cancel(response.id) == told


def test_only_a_background_response_can_be_cancelled_and_one_that_has_ended_stays(client: OpenAI) -> None:
    with pytest.raises(BadRequestError):
        client.responses.cancel(client.responses.create(model=SCRIPT, input="Hello").id)
    done = ended(client, client.responses.create(model=SCRIPT, input="Hello", background=True))
    assert client.responses.cancel(done.id) == done


@pytest.mark.parametrize("model", [SCRIPT, THINKER])
def test_its_stream_goes_on_where_a_reader_left_it(client: OpenAI, model: str) -> None:
    slow = script("delay=0.05")
    first: list[Any] = []
    with client.responses.create(
        model=model, input="Hello", background=True, stream=True, extra_headers=slow
    ) as stream:
        for event in stream:
            first.append(event)
            if event.type.endswith(".delta"):
                break
    assert [event.type for event in first[:3]] == ["response.created", "response.queued", "response.in_progress"]
    name = first[0].response.id
    with client.responses.retrieve(name, stream=True, starting_after=first[-1].sequence_number) as stream:
        rest = list(stream)
    with client.responses.retrieve(name, stream=True) as stream:
        again = list(stream)
    assert first + rest == again
    assert [event.sequence_number for event in again] == list(range(len(again)))
    assert again[-1].type == "response.completed"
    assert again[-1].response == client.responses.retrieve(name)


def test_it_outlives_the_ingress_that_took_it(api: Api, client: OpenAI) -> None:
    with api.another_ingress() as (other, process):
        slow = script("text=One two three four five six seven eight,delay=0.2")
        response = other.responses.create(model=SCRIPT, input="Hello", background=True, extra_headers=slow)
        process.kill()
        process.wait(60)
    done = ended(client, response)
    assert (done.status, done.output_text) == ("completed", "One two three four five six seven eight")
    with client.responses.retrieve(response.id, stream=True) as stream:
        assert [event.type for event in stream][-1] == "response.completed"
