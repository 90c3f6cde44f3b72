"""Whatever comes in, what goes out is an envelope, and never a 500."""

import asyncio
import json
from datetime import timedelta
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.agon_ingress.conftest import MODEL, FakeWorker, Ingress, MakeSettings, eventually, serving

pytestmark = pytest.mark.servers

CHAT = "/v1/chat/completions"
T = TypeVar("T")


def check_envelope(answer: httpx.Response, status: int | None = None) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert told["error"]["message"]
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-should-retry"] in ("true", "false")
    assert status is None or answer.status_code == status
    return dict(told["error"])


ERRORS: list[tuple[str, str, bytes, str | None, int, str]] = [
    ("GET", "/nothing", b"", None, 404, "not_found"),
    ("GET", "/v1/", b"", None, 404, "not_found"),
    ("PUT", CHAT, b"", None, 405, "method_not_allowed"),
    ("DELETE", "/v1/models", b"", None, 405, "method_not_allowed"),
    ("POST", CHAT, b"", None, 400, "invalid_json"),
    ("POST", CHAT, b"{not json", None, 400, "invalid_json"),
    ("POST", CHAT, b"\xff\xfe\x00", None, 400, "invalid_json"),
    ("POST", CHAT, b'{"model": "\xc3\x28"}', None, 400, "invalid_json"),
    ("POST", CHAT, b"[" * 50_000, None, 400, "invalid_json"),
    ("POST", CHAT, b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ("POST", CHAT, b'{"model":"m","messages":' + b"[" * 300 + b"]" * 300 + b"}", None, 400, "invalid_json"),
    ("POST", CHAT, b"{}", None, 400, "missing_required_parameter"),
    ("POST", CHAT, b'{"model":"m","messages":[{"role":"user","content":"x"}]}', None, 404, "model_not_found"),
    ("POST", CHAT, b"x" * 2_000_000, None, 413, "request_too_large"),
]


async def test_every_error_is_an_envelope(make_settings: MakeSettings, worker: FakeWorker) -> None:
    async with (
        serving(make_settings(max_body_bytes=1_000_000)) as ingress,
        httpx.AsyncClient(base_url=ingress.url, timeout=60) as client,
    ):
        await ingress.house.registry.loaded.wait()
        for method, path, content, kind, status, code in ERRORS:
            headers = {} if kind is None else {"content-type": kind}
            answer = await client.request(method, path, content=content, headers=headers)
            assert check_envelope(answer, status)["code"] == code, (method, path, content[:20])
            assert (status == 405) == ("allow" in answer.headers)


async def test_head_is_answered_with_the_head_of_get_and_no_body(ingress: Ingress) -> None:
    async with httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        for path, status in (
            ("/", 200),
            ("/v1/models", 200),
            ("/v1/nothing", 404),
            (CHAT, 200),
            ("/v1/embeddings", 405),
        ):
            got, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"") == (status, b""), path
            for name in ("content-type", "content-length"):
                assert head.headers[name] == got.headers[name]
        async with asyncio.timeout(60):  # a stream that never ends is not waited for
            assert (await client.head("/arena/leaderboard/stream")).headers["content-type"].startswith("text/event-")


async def test_a_streamed_body_is_cut_off_at_the_limit(make_settings: MakeSettings, worker: FakeWorker) -> None:
    async with serving(make_settings(max_body_bytes=10_000)) as ingress:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(20):
            writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        async with asyncio.timeout(60):  # the body never ends; the answer comes all the same
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        writer.close()


async def test_ids_go_out_and_come_back(ingress: Ingress) -> None:
    async with httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        answer = await client.get("/v1/models", headers={"x-client-request-id": "mine-7"})
        again = await client.get(
            "/v1/models", headers={"x-client-request-id": "no\ttab", "authorization": "Bearer any"}
        )
    assert answer.headers["x-client-request-id"] == "mine-7"
    assert answer.headers["openai-version"] == "2020-10-01"
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert answer.headers["x-request-id"] != again.headers["x-request-id"]
    assert "x-client-request-id" not in again.headers


async def test_a_wrong_timeout_is_told(ingress: Ingress) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    async with httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        for value in ("0", "-5", "soon", "1e3", "", "٣"):
            answer = await client.post(CHAT, json=body, headers={"x-timeout-ms": value.encode()})
            assert check_envelope(answer, 400)["param"] == "x-timeout-ms", value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stop",
        "ignore_eos",
        "store",
        "metadata",
        "cache_salt",
        "prompt_cache_key",
        "user",
        "tools",
        "logprobs",
        "response_format",
    ]
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "tool", "assistant", "function"]) | JSON, "content": st.text() | JSON}
)
GOOD = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}).encode()
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda fields, messages: json.dumps({"model": MODEL, "messages": messages, **fields}).encode(),
        # Often as they should be, so that what is wrong is met behind the parser as well.
        st.just({}) | st.dictionaries(FIELDS, JSON, max_size=4),
        st.just([{"role": "user", "content": "Hi"}]) | st.lists(MESSAGE, max_size=3),
    ),
)


def drawn(strategy: st.SearchStrategy[T], most: int) -> list[T]:
    """Examples, drawn before anything is sent: Hypothesis wants no other randomness to run beside it."""
    examples: list[T] = []

    @settings(max_examples=most, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def draw(example: T) -> None:
        examples.append(example)

    draw()
    return examples


async def test_no_body_makes_a_500(ingress: Ingress) -> None:
    seen: set[int] = set()
    async with httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        for body in (GOOD, *drawn(BODIES, 50)):  # ten thousand more go to the same code without a socket: test_fuzz
            answer = await client.post(CHAT, content=body)
            seen.add(answer.status_code)
            assert answer.status_code < 500, (body, answer.text)
            if answer.status_code != 200:
                check_envelope(answer)
    assert {400, 200} <= seen, "the bodies reach beyond the parser"


REQUESTS = st.tuples(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    st.sampled_from(["/", "/v1/models/", CHAT + "/", "/v1/chat/", "/openapi.json"]),
    st.binary(max_size=12),
    st.binary(max_size=20).map(lambda value: bytes(c for c in value if c >= 0x20 and c != 0x7F).strip()),
)


async def test_no_path_and_no_header_makes_a_500(ingress: Ingress) -> None:
    async with httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        for method, start, rest, header in drawn(REQUESTS, 60):
            path = start + "".join(f"%{c:02x}" for c in rest)
            headers = {b"content-type": header, b"x-client-request-id": header}
            answer = await client.request(method, path, headers=headers, content=b"{}")
            assert answer.status_code < 500, (method, path, header, answer.text)
            if answer.status_code >= 400:
                check_envelope(answer)


async def test_what_is_no_http_ends_the_connection_and_nothing_else(ingress: Ingress) -> None:
    for junk in (b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 70_000, b"\r\n" * 50):
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(junk)
        async with asyncio.timeout(60):
            if junk.strip():
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 400 "), junk[:20]
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"
        writer.close()
    async with httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_a_head_without_end_is_cut_off(ingress: Ingress) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx-long: ")
    for _ in range(40):
        writer.write(b"a" * 10_000)
    async with asyncio.timeout(60):
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_a_head_below_the_limit_is_read(ingress: Ingress) -> None:
    async with httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        for _ in range(4):  # on one connection: what came before does not count
            assert (await client.get("/healthz", headers={"x-long": "a" * 40_000})).status_code == 200


async def test_a_body_that_never_ends_is_not_waited_for(make_settings: MakeSettings) -> None:
    async with serving(make_settings(body_timeout=0.2)) as ingress:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
        async with asyncio.timeout(60):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_so_many_files_are_taken_in_at_once_each_in_its_time(make_settings: MakeSettings) -> None:
    settings = make_settings(max_uploads=1)
    async with serving(settings) as ingress, httpx.AsyncClient(base_url=ingress.url, timeout=60) as client:
        await eventually(lambda: ingress.house.health.problems["postgres"] is None)
        kind = "content-length: 1000\r\ncontent-type: multipart/form-data; boundary=b"
        begun = f"POST /v1/files HTTP/1.1\r\nhost: x\r\n{kind}\r\n\r\n--b".encode()
        _, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(begun)
        await eventually(lambda: ingress.house.uploads == 1)
        form: Any = {"files": {"file": b"x"}, "data": {"purpose": "user_data"}}
        refused = await client.post("/v1/files", **form)
        assert check_envelope(refused, 429)["code"] == "rate_limit_exceeded"
        writer.close()
        await eventually(lambda: ingress.house.uploads == 0)

        ingress.house.settings = settings.model_copy(update={"upload_timeout": timedelta(seconds=0.2)})
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(begun)
        async with asyncio.timeout(60):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await eventually(lambda: ingress.house.uploads == 0)
        ingress.house.settings = settings
        assert (await client.post("/v1/files", **form)).status_code == 200


async def test_a_client_that_leaves_while_it_sends_is_no_error(
    ingress: Ingress, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
    writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    gone = ingress.house.metrics.counter("http_requests").labels("POST", CHAT, 499)
    await eventually(lambda: gone._value.get() == 1)
    assert not [record for record in caplog.records if record.name.startswith("agon_ingress")]
