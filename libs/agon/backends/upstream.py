"""Any OpenAI-compatible server as a backend: vLLM, SGLang, llama.cpp, OpenAI itself.

`MODEL=upstream:URL[#REMOTE_NAME][,OPTION=VALUE,...]`, the URL up to and with `/v1`.

| option        | meaning                                                                             |
|---------------|-------------------------------------------------------------------------------------|
| `name`        | the model's name over there (the same as here; `#REMOTE_NAME` is short for it)      |
| `key_env`     | the environment variable that holds the key (`AGON_UPSTREAM_KEY`, if it is set)     |
| `concurrency` | requests open at once (16); the others wait                                         |
| `timeout`     | seconds without a byte until a request fails (120)                                  |
| `context`     | the context length to publish (32768); the server over there enforces its own       |
| `embeds`      | its model makes embeddings, and no text (false)                                     |

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
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Self

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agon.backends.base import Admitted, Emit, Event, Failed, Job, Load
from agon.backends.dialect import as_openai
from agon.backends.sse import EventParser
from agon.backends.upstream_answer import Answer, message_of
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
_CONNECT_SECONDS = 10.0
_ERROR_BYTES = 64 * 1024  # of an error's body that are read
_VECTOR_BYTES = 32 * 1024 * 1024  # of an answer of vectors: cut off above it, and then no JSON


class Options(BaseModel):
    """The options above, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)] | None = None
    key_env: str | None = None
    concurrency: Annotated[int, Field(ge=1)] = 16
    timeout: Annotated[float, Field(gt=0)] = 120.0
    context: Annotated[int, Field(ge=1)] = 32768
    embeds: bool = False


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
            kinds=("embedding",) if options.embeds else ("chat", "completion"),
            arena=not options.embeds,
            created_at=now(),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: aiohttp.ClientSession | None = None
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
        self._client = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=self._options.timeout),
            connector=aiohttp.TCPConnector(limit=self._options.concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=True,  # proxies
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
            await self._client.close()

    def _call(self, entry: Job | str) -> None:
        """Bring a job or a key to cancel into the event loop."""
        if self._loop is None:
            self._early.append(entry)
        else:
            self._loop.call_soon_threadsafe(self._take, entry)

    def _take(self, entry: Job | str) -> None:
        if self._loop is None:
            return  # it was on its way when all was dropped
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
        answer = Answer(job)
        last: Sequence[Event] = ()
        try:
            if any(job.emitted):
                raise WorkerLost("the worker died, and an answer of another server cannot be resumed")
            deadline = job.request.deadline
            remaining = (deadline - now()).total_seconds() if deadline else None
            async with asyncio.timeout(remaining), self._slots:
                self._running += 1
                try:
                    last = await self._converse(job.request, answer)
                finally:
                    self._running -= 1
            end: Event = answer.finished()
        except TimeoutError:
            end = answer.failed(Expired("the request's deadline passed before its answer was complete"))
        except AgonError as error:
            if isinstance(error, UpstreamFailed):  # clients are not told where it is, but who runs this must know
                _log.warning("%s at %s: %s (%s)", self._name, self._url, error, error.__cause__ or error.code)
            end = answer.failed(error)
        except Exception:
            _log.exception("talking to %s failed", self._url)
            end = answer.failed(UpstreamFailed("the upstream could not be understood"))
        del self._tasks[job.key]
        self._emit([*last, end])

    async def _converse(self, request: GenerationRequest, answer: Answer) -> Sequence[Event]:
        """Send the request and emit what comes, but for what comes last: that goes with the end. Raises `AgonError` for
        everything that can go wrong out there."""
        assert self._client is not None
        path, body = as_openai(request, self._name)
        try:
            async with self._client.post(f"{self._url}/{path}", json=body, allow_redirects=False) as response:
                if response.status != 200:
                    raise await _refusal(response)
                if request.kind == "embedding":
                    return [Admitted(answer.key, 0), *answer.embedded(await _at_most(response, _VECTOR_BYTES))]
                if response.content_type != "text/event-stream":
                    raise UpstreamFailed("the upstream does not stream its answer")
                parser = EventParser()
                # What came together with the head is told together with the admission: a call to Redis less.
                events: list[Event] = [Admitted(answer.key, 0)]
                chunk = response.content.read_nowait()
                while True:
                    events += [event for data in parser.feed(chunk) for event in answer.read(data)]
                    if answer.done:
                        return events
                    if events:
                        self._emit(events)
                    if not (chunk := await response.content.readany()):
                        return ()
                    events = []
        except aiohttp.ConnectionTimeoutError as error:
            raise _unreachable() from error
        except aiohttp.ServerTimeoutError as error:
            raise UpstreamFailed(
                f"the upstream was silent for {self._options.timeout:g} s", code="upstream_timeout"
            ) from error
        except aiohttp.ClientConnectorError as error:
            raise _unreachable() from error
        except aiohttp.ClientError as error:
            raise UpstreamFailed(f"the connection to the upstream broke ({type(error).__name__})") from error


def _unreachable() -> AgonError:
    told = "the upstream cannot be reached"
    return UpstreamFailed(told, code="upstream_unreachable", retry_after=timedelta(seconds=1))


async def _refusal(response: aiohttp.ClientResponse) -> AgonError:
    """An answer that is not 200, in our words. A wrong key or model over there is not the caller's fault."""
    content = await _at_most(response, _ERROR_BYTES)
    try:
        parsed = json.loads(content)
        error = parsed.get("error", parsed)
    except (ValueError, AttributeError):
        error = content.decode("utf-8", "replace")
    message = message_of(error)
    code = error.get("code") if isinstance(error, Mapping) else None
    status = response.status
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


async def _at_most(response: aiohttp.ClientResponse, size: int) -> bytes:
    """The body, as far as it goes up to about so many bytes."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > size:
            break
    return bytes(content)


def _retry_after(response: aiohttp.ClientResponse) -> timedelta | None:
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return timedelta(seconds=seconds) if 0 < seconds <= 3600 else None


def _nobody(events: Any) -> None:
    """Before `start` nothing happens, so there is nothing to tell."""
