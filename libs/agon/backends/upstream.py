"""Any OpenAI-compatible server as a backend: vLLM, SGLang, llama.cpp, OpenAI itself.

`MODEL=upstream:URL[#REMOTE_NAME][,OPTION=VALUE,...]`, the URL up to and with `/v1`.

| option        | meaning                                                                             |
|---------------|-------------------------------------------------------------------------------------|
| `name`        | the model's name over there (the same as here; `#REMOTE_NAME` is short for it)      |
| `key_env`     | the environment variable that holds the key (`AGON_UPSTREAM_KEY`, if it is set)     |
| `concurrency` | requests open at once (16); the others wait                                         |
| `timeout`     | seconds without a byte until a request fails (120)                                  |
| `context`     | the context length to publish (32768); the server over there enforces its own       |

A server tells text, not tokens: each piece of text that it sends counts as one token, whose id is -1; with `logprobs`
each of those counts. The usage at the end is the server's own where it sends one. Its answers cannot be resumed. All
sampling fields are passed on, those beyond OpenAI's under vLLM's names, for the server to take or refuse.
"""

import asyncio
import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agon.backends.base import Admitted, Emit, Event, Failed, Finished, Job, Load, Tokens
from agon.backends.dialect import as_openai, logprobs_of
from agon.backends.sse import EventParser
from agon.errors import (
    AgonError,
    Cancelled,
    ContextTooLong,
    Expired,
    InvalidRequest,
    RateLimited,
    SetupError,
    TooLarge,
    Unavailable,
    UpstreamFailed,
    WorkerLost,
)
from agon.messages import GenerationRequest, ModelCard, now

_log = logging.getLogger(__name__)
_KEY_ENV = "AGON_UPSTREAM_KEY"
_ERROR_BYTES = 64 * 1024  # of an error's body that are read
_ERROR_CHARACTERS = 500  # of its message that are passed on
TOKEN_ID = -1
"""The id of every token of an upstream: nobody here knows the real ones."""


class Options(BaseModel):
    """The options above, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)] | None = None
    key_env: str | None = None
    concurrency: Annotated[int, Field(ge=1)] = 16
    timeout: Annotated[float, Field(gt=0)] = 120.0
    context: Annotated[int, Field(ge=1)] = 32768


class UpstreamBackend:
    """A `PushingBackend`: one HTTP stream per job, in the event loop that started it."""

    resumable = False

    def __init__(self, model: str, url: str, options: Options | None = None, key: str | None = None) -> None:
        self._options = options = options or Options()
        self._url = url.rstrip("/")
        self._name = options.name or model
        self._key = key
        self._card = ModelCard(
            model=model,
            digest=f"sha256:{hashlib.sha256(f'{self._url}#{self._name}'.encode()).hexdigest()}",
            backend="upstream",
            owned_by="upstream",
            context_length=options.context,
            created_at=now(),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None
        self._emit: Emit = _nobody
        self._early: deque[Job | str] = deque()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(options.concurrency)
        self._running = 0

    @classmethod
    def from_options(cls, model: str, url: str, options: Mapping[str, str]) -> Self:
        """Read options as they are spelled in settings, and the key. Raises `SetupError` that names what is wrong."""
        try:
            read = Options.model_validate(dict(options))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise SetupError(f"the upstream of {model} has wrong options: {wrong}") from error
        key = os.environ.get(read.key_env or _KEY_ENV)
        if read.key_env and not key:
            raise SetupError(f"the upstream of {model} takes its key from {read.key_env}, which is not set")
        return cls(model, url, read, key)

    @property
    def card(self) -> ModelCard:
        return self._card

    def submit(self, job: Job) -> None:
        self._call(job)

    def cancel(self, key: str) -> None:
        self._call(key)

    def load(self) -> Load:
        held = len(self._tasks) + len(self._early)
        return Load(self._running, held - self._running, self._options.concurrency)

    async def start(self, emit: Emit) -> None:
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        headers = {"accept": "text/event-stream", "user-agent": "agon"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(self._options.timeout, connect=10.0, pool=None),
            limits=httpx.Limits(max_connections=self._options.concurrency),
        )
        while self._early:
            self._take(self._early.popleft())

    async def stop(self) -> None:
        self._loop = None
        tasks = [*self._tasks.values(), *self._ended]
        self._tasks.clear()  # those that are not here any more end without an event
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _call(self, entry: Job | str) -> None:
        """Bring a job or a key to cancel into the event loop."""
        if self._loop is None:
            self._early.append(entry)
        else:
            self._loop.call_soon_threadsafe(self._take, entry)

    def _take(self, entry: Job | str) -> None:
        key = entry if isinstance(entry, str) else entry.key
        older = self._tasks.pop(key, None)
        if older is not None:
            older.cancel()
            self._ended.add(older)
            older.add_done_callback(self._ended.discard)
            self._emit([Failed(key, Cancelled("the request was cancelled"))])
        if isinstance(entry, Job):
            self._tasks[key] = asyncio.get_running_loop().create_task(self._serve(entry), name=f"upstream {key}")

    async def _serve(self, job: Job) -> None:
        """Run a job to its end. Cancelled by whoever has already told its end, so that nothing is told twice."""
        stream = _Stream(job)
        try:
            if any(job.emitted):
                raise WorkerLost("the worker died, and an answer of another server cannot be resumed")
            deadline = job.request.deadline
            remaining = (deadline - now()).total_seconds() if deadline else None
            async with asyncio.timeout(remaining), self._slots:
                self._running += 1
                try:
                    await self._converse(job.request, stream)
                finally:
                    self._running -= 1
            end: Event = stream.finished()
        except TimeoutError:
            end = stream.failed(Expired("the request's deadline passed before its answer was complete"))
        except AgonError as error:
            end = stream.failed(error)
        except Exception:
            _log.exception("talking to %s failed", self._url)
            end = stream.failed(UpstreamFailed("the upstream could not be understood"))
        del self._tasks[job.key]
        self._emit([end])

    async def _converse(self, request: GenerationRequest, stream: "_Stream") -> None:
        """Send the request and emit what comes. Raises `AgonError` for everything that can go wrong out there."""
        assert self._client is not None
        path, body = as_openai(request, self._name)
        try:
            async with self._client.stream("POST", f"{self._url}/{path}", json=body) as response:
                if response.status_code != 200:
                    raise await _refusal(response)
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise UpstreamFailed("the upstream does not stream its answer")
                self._emit([Admitted(stream.key, 0)])
                parser = EventParser()
                async for chunk in response.aiter_bytes():
                    events = [event for data in parser.feed(chunk) for event in stream.read(data)]
                    if events:
                        self._emit(events)
                    if stream.done:
                        return
        except httpx.TimeoutException as error:
            raise UpstreamFailed(
                f"the upstream was silent for {self._options.timeout:g} s", code="upstream_timeout"
            ) from error
        except httpx.ConnectError as error:
            raise UpstreamFailed(
                "the upstream cannot be reached", code="upstream_unreachable", retry_after=timedelta(seconds=1)
            ) from error
        except httpx.HTTPError as error:
            raise UpstreamFailed(f"the connection to the upstream broke ({type(error).__name__})") from error


class _Stream:
    """One answer as it comes: chunks in, events out."""

    def __init__(self, job: Job) -> None:
        self.key = job.key
        self.done = False
        self._counts = [0] * job.request.n
        self._reasons: list[str | None] = [None] * job.request.n
        self._usage: Mapping[str, Any] = {}

    def read(self, data: bytes) -> list[Event]:
        """The events in one chunk. Raises `UpstreamFailed` for what is no chunk, or tells of an error."""
        if data.startswith(b"[DONE]"):
            self.done = True
            return []
        try:
            chunk = json.loads(data)
            if error := chunk.get("error"):
                raise UpstreamFailed(f"the upstream failed: {_message(error)}")
            if chunk.get("usage"):
                self._usage = dict(chunk["usage"])
            return [event for choice in chunk.get("choices") or () for event in self._choice(choice)]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UpstreamFailed("the upstream sent something that is no chunk of an answer") from error

    def _choice(self, choice: Mapping[str, Any]) -> list[Event]:
        index = int(choice.get("index", 0))
        if index < 0 or self._reasons[index] is not None:
            raise ValueError(f"choice {index} goes on after its end")
        text = (choice.get("delta") or {}).get("content") or choice.get("text") or ""
        reason = choice.get("finish_reason")
        if reason == "content_filter":
            raise UpstreamFailed("the upstream's content filter cut the answer", code="content_filter")
        logprobs = logprobs_of(choice.get("logprobs"))
        if not text and not reason and not logprobs:
            return []
        at = self._counts[index]
        count = len(logprobs) if logprobs else 1 if text else 0
        self._counts[index] += count
        # Whatever else an answer may end with (a call of a tool that we did not offer) is an end by itself.
        self._reasons[index] = ("length" if reason == "length" else "stop") if reason else None
        return [Tokens(self.key, index, at, (TOKEN_ID,) * count, str(text), self._reasons[index], logprobs)]

    def finished(self) -> Finished:
        """The end. Raises `UpstreamFailed` when the stream broke off before each choice had its own."""
        if None in self._reasons:
            raise UpstreamFailed("the upstream's stream broke off")
        return Finished(self.key, *self._tokens(), self._cached())

    def failed(self, error: AgonError) -> Failed:
        return Failed(self.key, error, *self._tokens())

    def _tokens(self) -> tuple[int, int]:
        counted = sum(self._counts)
        return _count(self._usage.get("prompt_tokens"), 0), _count(self._usage.get("completion_tokens"), counted)

    def _cached(self) -> int:
        details = self._usage.get("prompt_tokens_details")
        return _count(details.get("cached_tokens"), 0) if isinstance(details, Mapping) else 0


async def _refusal(response: httpx.Response) -> AgonError:
    """An answer that is not 200, in our words. A wrong key or model over there is not the caller's fault."""
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _ERROR_BYTES:
            break
    try:
        parsed = json.loads(content)
        error = parsed.get("error", parsed)
    except (ValueError, AttributeError):
        error = content.decode("utf-8", "replace")
    message = _message(error)
    code = error.get("code") if isinstance(error, Mapping) else None
    status = response.status_code
    if status in (400, 422):
        kind = ContextTooLong if code == "context_length_exceeded" else InvalidRequest
        return kind(f"the upstream refuses the request: {message}")
    if status in (401, 403):
        return UpstreamFailed("the upstream does not accept this server's key", code="upstream_unauthorized")
    if status == 404:
        return UpstreamFailed("the upstream does not know this model or path", code="upstream_not_found")
    if status == 413:
        return TooLarge("the request is too large for the upstream")
    if status == 429:
        return RateLimited(f"the upstream is busy: {message}", retry_after=_retry_after(response))
    if status == 503:
        return Unavailable(f"the upstream is not available: {message}", retry_after=_retry_after(response))
    return UpstreamFailed(f"the upstream answered {status}: {message}")


def _message(error: Any) -> str:
    said = error.get("message", "") if isinstance(error, Mapping) else error
    return " ".join(str(said).split())[:_ERROR_CHARACTERS] or "no reason given"


def _retry_after(response: httpx.Response) -> timedelta | None:
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return timedelta(seconds=seconds) if 0 < seconds <= 3600 else None


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise


def _nobody(events: Any) -> None:
    """Before `start` nothing happens, so there is nothing to tell."""
