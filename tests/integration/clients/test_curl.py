"""The raw bytes that curl sees."""

import json
import shutil
import subprocess

import pytest

from integration.clients.conftest import SCRIPT, Api

pytestmark = [pytest.mark.servers, pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")]


def curl(api: Api, path: str, body: object, *more: str) -> str:
    command = ["curl", "-sN", f"{api.url}{path}", "-H", "content-type: application/json", "-d", json.dumps(body), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


BODY = {"model": SCRIPT, "messages": [{"role": "user", "content": "Hi"}]}


def test_a_whole_answer(api: Api) -> None:
    answer = json.loads(curl(api, "/v1/chat/completions", BODY))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "You said: Hi That is 2 characters."


def test_the_bytes_of_a_stream(api: Api) -> None:
    told = curl(api, "/v1/chat/completions", {**BODY, "stream": True, "stream_options": {"include_usage": True}}, "-i")
    head, _, body = told.partition("\n\n")
    assert "content-type: text/event-stream; charset=utf-8" in head
    assert "x-accel-buffering: no" in head
    lines = [line for line in body.split("\n") if line and not line.startswith(":")]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1] if c["choices"][0]["finish_reason"]] == ["stop"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/fine_tuning/jobs", {"model": "m", "training_file": "file-1"}),
        ("/v1/uploads", {"bytes": 9, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "batch"}),
    ],
)
def test_what_is_not_here_yet_says_so(api: Api, path: str, body: dict[str, object]) -> None:
    told = json.loads(curl(api, path, body))
    assert told["error"]["code"] == "not_implemented"
