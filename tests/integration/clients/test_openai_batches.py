"""Files and batches with the official client: upload requests, wait, read the answers."""

import json
import time
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import Batch

from integration.clients.conftest import MINILM, NANO, SCRIPT, THINKER

pytestmark = pytest.mark.servers


def requests(url: str, *bodies: dict[str, Any]) -> bytes:
    """A request in each line, as OpenAI's batches take them."""
    lines = [
        {"custom_id": f"request-{number}", "method": "POST", "url": url, "body": body}
        for number, body in enumerate(bodies)
    ]
    return "\n".join(map(json.dumps, lines)).encode()


def chat(text: str, model: str = SCRIPT, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def submitted(client: OpenAI, url: Any, data: bytes, **more: Any) -> Batch:
    file = client.files.create(file=("requests.jsonl", data), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h", **more)


def ended(client: OpenAI, batch: Batch, seconds: float = 300) -> Batch:
    """Ask now and then until it has ended."""
    until = time.monotonic() + seconds
    while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
        assert time.monotonic() < until, batch
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return batch


def told(client: OpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of an output file, by custom_id: each of them once."""
    if file_id is None:
        return {}
    lines = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    assert len({line["custom_id"] for line in lines}) == len(lines)
    return {line["custom_id"]: line for line in lines}


def test_a_file_is_uploaded_listed_read_and_deleted(client: OpenAI) -> None:
    data = bytes(range(256)) * 4096
    file = client.files.create(
        file=("data.bin", data), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (file.bytes, file.filename, file.purpose) == (len(data), "data.bin", "user_data")
    assert file.expires_at == file.created_at + 3600
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == data
    other = client.files.create(file=b"x", purpose="user_data")
    newest_first = [one.id for one in client.files.list(limit=1, purpose="user_data")]  # page by page
    assert newest_first.index(other.id) < newest_first.index(file.id)
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)


def test_a_batch_that_is_asked_for_again_under_its_key_is_the_same(client: OpenAI) -> None:
    key = {"Idempotency-Key": f"batch-{time.time_ns()}"}
    fields: Any = {"endpoint": "/v1/chat/completions", "completion_window": "24h", "extra_headers": key}
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-nothing", **fields)
    file = client.files.create(file=requests("/v1/chat/completions", chat("Hello")), purpose="batch")
    first = client.batches.create(input_file_id=file.id, **fields)
    assert ended(client, first).status == "completed"
    client.files.delete(file.id)
    again = client.batches.with_raw_response.create(input_file_id=file.id, **fields)
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.parse().id, again.parse().status) == (first.id, "completed")
    with pytest.raises(openai.UnprocessableEntityError):
        client.batches.create(input_file_id=file.id, metadata={"a": "b"}, **fields)


def test_a_batch_of_chats(client: OpenAI) -> None:
    data = requests("/v1/chat/completions", *(chat(f"Hello {n}") for n in range(20)))
    batch = submitted(client, "/v1/chat/completions", data, metadata={"job": "a"})
    assert batch.status == "validating"
    batch = ended(client, batch)
    assert batch.status == "completed"
    assert batch.metadata == {"job": "a"}
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (20, 20, 0)
    assert batch.error_file_id is None
    answers = told(client, batch.output_file_id)
    assert set(answers) == {f"request-{n}" for n in range(20)}
    for n in range(20):
        response = answers[f"request-{n}"]["response"]
        assert response["status_code"] == 200
        assert response["body"]["object"] == "chat.completion"
        assert response["body"]["choices"][0]["message"]["content"].startswith(f"You said: Hello {n} ")
    assert batch.usage is not None
    assert batch.usage.total_tokens == sum(a["response"]["body"]["usage"]["total_tokens"] for a in answers.values())
    assert batch.id in [one.id for one in client.batches.list(limit=1)]


WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/v1/chat/completions", chat("Hello", NANO, n=2, seed=7, max_tokens=8, logprobs=True, top_logprobs=2)),
        ("/v1/chat/completions", chat("Hello", THINKER)),
        ("/v1/chat/completions", chat("What is the weather in Rome?", tools=[WEATHER], tool_choice="required", seed=7)),
        (
            "/v1/completions",
            {"model": NANO, "prompt": ["a b", "c"], "n": 2, "echo": True, "logprobs": 1, "seed": 3, "max_tokens": 4},
        ),
        ("/v1/embeddings", {"model": MINILM, "input": [f"text {n}" for n in range(40)]}),
        ("/v1/embeddings", {"model": MINILM, "input": "text", "encoding_format": "base64", "dimensions": 8}),
        ("/v1/responses", {"model": THINKER, "input": "Hello"}),
        ("/v1/responses", {"model": NANO, "input": "Hello", "top_logprobs": 2, "seed": 3, "max_output_tokens": 5}),
    ],
    ids=str,
)
def test_every_endpoint_answers_a_batch_as_it_answers_http(client: OpenAI, url: str, body: dict[str, Any]) -> None:
    batch = ended(client, submitted(client, url, requests(url, body)))
    assert batch.status == "completed", batch
    line = told(client, batch.output_file_id)["request-0"]
    direct = client.post(url.removeprefix("/v1"), cast_to=object, body=body)
    assert _bare(line["response"]["body"]) == _near(_bare(direct))


def _bare(answer: Any) -> Any:
    """Without what is another one each time: ids, moments, and what was found in the cache."""
    if isinstance(answer, dict):
        own = ("id", "created", "created_at", "completed_at", "call_id", "cached_tokens")
        return {name: _bare(value) for name, value in answer.items() if name not in own}
    return [_bare(value) for value in answer] if isinstance(answer, list) else answer


def _near(answer: Any) -> Any:
    """The same give or take the last digits of its numbers: they depend on what else was in the engine's batch."""
    if isinstance(answer, dict):
        return {name: _near(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [_near(value) for value in answer]
    return pytest.approx(answer, abs=1e-4) if isinstance(answer, float) else answer


def test_a_line_that_can_not_be_answered_is_in_the_error_file(client: OpenAI) -> None:
    url = "/v1/chat/completions"
    bodies = [chat("Hello"), chat("Hello", temperature=9), chat("Hello", stream=True), chat("Hello", "broken")]
    batch = ended(client, submitted(client, url, requests(url, *bodies)))
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 3)
    assert set(told(client, batch.output_file_id)) == {"request-0"}
    errors = told(client, batch.error_file_id)
    assert {name: line["response"]["status_code"] for name, line in errors.items()} == {
        "request-1": 400,
        "request-2": 400,
        "request-3": 500,
    }
    assert errors["request-1"]["response"]["body"]["error"]["param"] == "temperature"


def test_a_wrong_input_file_fails_the_batch_with_its_lines(client: OpenAI) -> None:
    good = json.loads(requests("/v1/chat/completions", chat("Hello")))
    wrong: list[Any] = [
        good,
        good,
        {**good, "custom_id": "b", "url": "/v1/embeddings"},
        {**good, "custom_id": "c", "method": "GET"},
        {"custom_id": "d", "method": "POST", "url": "/v1/chat/completions"},
        {**good, "custom_id": "e", "body": chat("Hello", "nobody")},
    ]
    data = "\n\n".join(map(json.dumps, wrong)).encode() + b"\n{no json"
    batch = ended(client, submitted(client, "/v1/chat/completions", data))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert [(error.line, error.code) for error in batch.errors.data or ()] == [
        (3, "duplicate_custom_id"),
        (5, "invalid_url"),
        (7, "invalid_method"),
        (9, "missing_required_parameter"),
        (11, "model_not_found"),
        (12, "invalid_json_line"),
    ]
    assert batch.output_file_id is None


def test_a_batch_is_cancelled_with_what_it_has(client: OpenAI) -> None:
    url = "/v1/chat/completions"
    slow = {"metadata": {"agon-script": "first_delay=100"}}
    bodies = [chat("Hello"), *(chat("Hello", **slow) for _ in range(299))]
    batch = submitted(client, url, requests(url, *bodies))
    until = time.monotonic() + 60
    while not (batch.request_counts and batch.request_counts.completed) and time.monotonic() < until:
        batch = client.batches.retrieve(batch.id)
        time.sleep(0.1)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = ended(client, batch)
    assert batch.status == "cancelled"
    done, undone = told(client, batch.output_file_id), told(client, batch.error_file_id)
    assert len(done) + len(undone) == 300
    assert not set(done) & set(undone)
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, len(done)) == (1, 1)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_mistakes(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-none", endpoint="/v1/embeddings", completion_window="24h")
    file = client.files.create(file=b"{}", purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=b"{}", purpose="dinner")  # type: ignore[arg-type]
    assert refused.value.param == "purpose"
    for call in (client.batches.retrieve, client.batches.cancel, client.files.retrieve, client.files.content):
        with pytest.raises(openai.NotFoundError):
            call("nothing")
