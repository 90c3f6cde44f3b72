"""`POST /v1/responses`: items become a chat, and its answer becomes items."""

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from fastapi import Response as HttpResponse

from agon.messages import GenerationRequest
from agon.store import responses
from agon.store.responses import ResponseRow
from agon_ingress.asking.answers import Order
from agon_ingress.asking.calls import check_calls
from agon_ingress.asking.endpoint import Ask, Endpoint
from agon_ingress.asking.mapping import able, command
from agon_ingress.chat.endpoint import template_kwargs
from agon_ingress.house import House
from agon_ingress.recorded import not_found
from agon_ingress.responses.context import before, outputs, so_far
from agon_ingress.responses.events import ResponseStreamEvent
from agon_ingress.responses.following import FollowedResponse
from agon_ingress.responses.items import items_of, messages, write_items
from agon_ingress.responses.mapping import RENAMED, chosen, form, offered, speech
from agon_ingress.responses.telling import ResponseStream, WholeResponse
from agon_ingress.responses.types import ConversationTold, ReasoningOptions, Response, ResponseRequest


def _generations(asked: ResponseRequest, ask: Ask) -> Sequence[GenerationRequest]:
    functions = offered(asked)
    able(ask.card, "chat", functions)
    told = messages(asked.instructions, (*ask.earlier, *items_of(asked.input, ask.head.id, ask.found)))
    check_calls(told, "input")
    effort = asked.reasoning.effort if asked.reasoning else None
    request = command(
        request_id=ask.head.id,
        tenant=ask.tenant,
        model=asked.model,
        messages=told,
        tools=functions,
        tool_choice=chosen(asked),
        parallel_tool_calls=asked.parallel_tool_calls,
        chat_template_kwargs=template_kwargs(effort, asked.chat_template_kwargs),
        truncate=asked.truncation == "auto",
        response_format=form(asked),
        max_completion_tokens=asked.max_output_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        seed=asked.seed,
        logprobs=asked.logprobs,
        top_logprobs=asked.top_logprobs,
        metadata=asked.metadata,
        deadline=ask.deadline,
        store=asked.store,
        detached=asked.background,
    )
    return (request,)


def begun(asked: ResponseRequest, ask: Ask) -> Response:
    """The response before it has any output."""
    return Response(
        id=ask.head.id,
        created_at=ask.head.created,
        status="queued" if asked.background else "in_progress",
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        model=ask.head.model,
        parallel_tool_calls=asked.parallel_tool_calls,
        prompt_cache_key=asked.prompt_cache_key,
        reasoning=asked.reasoning or ReasoningOptions(),
        temperature=ask.card.temperature if asked.temperature is None else asked.temperature,
        text=asked.text,
        tool_choice=asked.tool_choice,
        tools=asked.tools,
        top_logprobs=asked.top_logprobs or 0,
        top_p=ask.card.top_p if asked.top_p is None else asked.top_p,
        truncation=asked.truncation,
        previous_response_id=asked.previous_response_id,
        conversation=None if asked.conversation_id is None else ConversationTold(id=asked.conversation_id),
        store=asked.store,
        background=asked.background,
        metadata=asked.metadata,
    )


async def recall(asked: ResponseRequest, ask: Ask, house: House) -> Ask:
    """What was said before: in the conversation, or up to the response that this goes on from; and what is named."""
    if asked.references:
        ask = replace(ask, found=await outputs(house, ask.tenant, asked.references))
    if asked.conversation_id is not None:
        return replace(ask, earlier=await so_far(house, ask.tenant, asked.conversation_id))
    if asked.previous_response_id is not None:
        return replace(ask, earlier=await before(house, ask.tenant, asked.previous_response_id))
    return ask


def keep(asked: ResponseRequest, ask: Ask, house: House) -> Coroutine[Any, Any, None] | None:
    """Write down what was asked, unless the client wants it forgotten."""
    if not asked.store:
        return None
    house.health.require("postgres")
    return _keep(row_of(asked, ask), house)


async def _keep(row: ResponseRow, house: House) -> None:
    if not await responses.keep(house.pool, row):
        raise not_found("conversation", row.conversation_id or "")


async def _send(asked: ResponseRequest, ask: Ask, order: Order, house: House) -> None:
    (request,) = order.requests
    try:
        generation = await house.submit(request, conversation=order.conversation)
    except BaseException:
        order.allowance.settle(0)
        await house.abandon(request)  # the record may be on Kafka although nobody said so
        await responses.delete(house.pool, ask.tenant, ask.head.id)
        if order.repeatable is not None:
            await house.repeating.withdraw(order.repeatable)
        raise
    await generation.close()
    order.allowance.settle(0, [(generation.request, 0)])


def row_of(asked: ResponseRequest, ask: Ask) -> ResponseRow:
    """What is kept of it."""
    return ResponseRow(
        tenant=ask.tenant,
        response_id=ask.head.id,
        model=asked.model,
        begun=begun(asked, ask).model_dump_json(by_alias=True),
        items=write_items(items_of(asked.input, ask.head.id, ask.found)),
        previous_id=asked.previous_response_id,
        conversation_id=asked.conversation_id,
        background=asked.background,
        created_at=ask.began,
        deadline=ask.deadline,
    )


async def apart(asked: ResponseRequest, ask: Ask, order: Order, house: House) -> HttpResponse:
    """Send a background request, which nobody need wait for, and answer."""
    if order.repeatable is None or order.repeatable.first:
        await _send(asked, ask, order, house)
    else:
        order.allowance.settle(0)
    headers = dict(order.headers)
    if asked.stream:
        return FollowedResponse(house, row_of(asked, ask), headers=headers)
    told = begun(asked, ask).model_dump_json(by_alias=True)
    return HttpResponse(told, media_type="application/json", headers=headers)


RESPONSES = Endpoint(
    path="/v1/responses",
    prefix="resp_",
    asks=ResponseRequest,
    gives=Response,
    event=ResponseStreamEvent,
    about="An answer as items: text, reasoning, calls of functions; with `stream: true` as events.",
    generations=_generations,
    whole=lambda asked, ask: WholeResponse(begun(asked, ask), speech(asked, ask.card)),
    streamed=lambda asked, ask: ResponseStream(begun(asked, ask), speech(asked, ask.card)),
    renamed=RENAMED,
    conversation=lambda asked: asked.prompt_cache_key,
    recall=recall,
    keep=keep,
    apart=apart,
)
