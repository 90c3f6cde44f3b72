"""`POST /v1/chat/completions`."""

import asyncio
from datetime import timedelta

from fastapi import APIRouter, Request, Response

from agon.errors import InvalidRequest
from agon.messages import GenerationRequest, now
from agon_ingress.answers import StreamedAnswer, WholeAnswer
from agon_ingress.chat_types import ChatCompletion, ChatCompletionRequest
from agon_ingress.fields import ignored_header, parse
from agon_ingress.house import House

router = APIRouter(prefix="/v1", tags=["chat"])

TIMEOUT_HEADER = "x-timeout-ms"


@router.post("/chat/completions", response_model=ChatCompletion)
async def create_chat_completion(request: Request) -> Response:
    """An answer to a conversation; with `stream: true` as server-sent events that end with `data: [DONE]`."""
    house: House = request.app.state.house
    settings = house.settings
    asked, ignored = parse(await body(request, settings.body_timeout), request.headers.get("content-type"))
    limit = timeout(request.headers.get(TIMEOUT_HEADER), settings.default_deadline, settings.longest_deadline)
    generation = to_generation(asked, f"chatcmpl-{request.state.request_id}", limit)
    headers = ignored_header(ignored)
    if not asked.stream:
        return WholeAnswer(house, generation, asked.prompt_cache_key, headers)
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    return StreamedAnswer(house, generation, asked.prompt_cache_key, headers, include_usage=usage)


async def body(request: Request, patience: timedelta) -> bytes:
    """The whole body. Raises `InvalidRequest` (408) for a client that stops sending half-way."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            return await request.body()
    except TimeoutError:
        error = InvalidRequest(f"the body was not complete within {patience.total_seconds():g} s", code="body_timeout")
        error.status = 408
        raise error from None


def to_generation(asked: ChatCompletionRequest, request_id: str, limit: timedelta) -> GenerationRequest:
    """OpenAI's request as a command for the workers. The house adds the seed and who listens."""
    return GenerationRequest(
        request_id=request_id,
        model=asked.model,
        messages=asked.messages,
        max_completion_tokens=asked.max_completion_tokens or asked.max_tokens,
        n=asked.n,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        seed=asked.seed,
        stop=asked.stop,
        ignore_eos=asked.ignore_eos,
        deadline=now() + limit,
        store=asked.store,
        cache_salt=asked.cache_salt,
        metadata=asked.metadata,
    )


def timeout(given: str | None, default: timedelta, longest: timedelta) -> timedelta:
    """How long the client wants to wait: the header `x-timeout-ms`, within what the server allows."""
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and int(given[:19]) > 0):
        told = f"the header {TIMEOUT_HEADER} must be a positive number of milliseconds, not `{given[:50]}`"
        raise InvalidRequest(told, param=TIMEOUT_HEADER, code="invalid_value")
    return min(timedelta(milliseconds=min(int(given[:19]), 10**12)), longest)
