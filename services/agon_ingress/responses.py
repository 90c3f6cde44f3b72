"""`POST /v1/responses`: items become a chat, and its answer becomes items."""

from collections.abc import Sequence
from dataclasses import replace

from agon.messages import GenerationRequest, ResponseFormat, Tool, formats, tool_choice, tools
from agon.store import responses
from agon.store.responses import ResponseRow
from agon_ingress.calls import check_calls
from agon_ingress.chat import template_kwargs
from agon_ingress.endpoint import Ask, Endpoint
from agon_ingress.house import House
from agon_ingress.mapping import able, command
from agon_ingress.response_context import before
from agon_ingress.response_events import ResponseStreamEvent
from agon_ingress.response_items import items_of, messages, write_items
from agon_ingress.response_telling import ResponseStream, WholeResponse
from agon_ingress.response_types import (
    AllowedFunctions,
    NamedTool,
    ReasoningOptions,
    Response,
    ResponseFormatJsonObject,
    ResponseFormatJsonSchema,
    ResponseRequest,
)
from agon_ingress.telling import Speech


def offered(asked: ResponseRequest) -> tuple[Tool, ...] | None:
    """The functions, as chats have them."""
    return (
        tuple(
            Tool(
                function=tools.ToolFunction(
                    name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict
                )
            )
            for tool in asked.tools
        )
        or None
    )


def chosen(asked: ResponseRequest) -> tool_choice.ToolChoice:
    """The choice among them, as chats have it."""

    def named(tool: NamedTool) -> tool_choice.NamedChoice:
        return tool_choice.NamedChoice(type="function", function=tool_choice.NamedFunction(name=tool.name))

    match asked.tool_choice:
        case NamedTool() as tool:
            return named(tool)
        case AllowedFunctions(mode=mode, tools=allowed):
            some = tool_choice.AllowedTools(mode=mode, tools=tuple(map(named, allowed)))
            return tool_choice.AllowedChoice(type="allowed_tools", allowed_tools=some)
        case plain:
            return plain


def form(asked: ResponseRequest) -> ResponseFormat | None:
    """What form the text has, as chats have it."""
    match asked.text.format:
        case ResponseFormatJsonObject():
            return formats.JsonObjectFormat()
        case ResponseFormatJsonSchema(name=name, schema_=schema, description=about, strict=strict):
            named = formats.NamedSchema(name=name, schema=schema, description=about, strict=strict)
            return formats.JsonSchemaFormat(json_schema=named)
    return None


def _generations(asked: ResponseRequest, ask: Ask) -> Sequence[GenerationRequest]:
    functions = offered(asked)
    able(ask.card, "chat", functions)
    told = messages(asked.instructions, (*ask.earlier, *items_of(asked.input, ask.head.id)))
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
    )
    return (request,)


def begun(asked: ResponseRequest, ask: Ask) -> Response:
    """The response before it has any output."""
    return Response(
        id=ask.head.id,
        created_at=ask.head.created,
        status="in_progress",
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        model=ask.head.model,
        parallel_tool_calls=asked.parallel_tool_calls,
        prompt_cache_key=asked.prompt_cache_key,
        reasoning=asked.reasoning or ReasoningOptions(),
        temperature=asked.temperature,
        text=asked.text,
        tool_choice=asked.tool_choice,
        tools=asked.tools,
        top_logprobs=asked.top_logprobs or 0,
        top_p=asked.top_p,
        truncation=asked.truncation,
        previous_response_id=asked.previous_response_id,
        store=asked.store,
        metadata=asked.metadata,
    )


def speech(asked: ResponseRequest, ask: Ask) -> Speech:
    """How this answer is to be read."""
    offer = tool_choice.calling(offered(asked), chosen(asked), asked.parallel_tool_calls)
    return Speech(ask.card.tool_format, offer.names, ask.card.reasoning, offer.several)


def _streamed(asked: ResponseRequest, ask: Ask) -> ResponseStream | None:
    return ResponseStream(begun(asked, ask), speech(asked, ask)) if asked.stream else None


async def recall(asked: ResponseRequest, ask: Ask, house: House) -> Ask:
    """What was said before: the response that this goes on from, and those that came before it."""
    if asked.previous_response_id is None:
        return ask
    earlier = await before(house, ask.tenant, asked.previous_response_id)
    return replace(ask, earlier=earlier)


async def keep(asked: ResponseRequest, ask: Ask, house: House) -> None:
    """Write down what was asked, unless the client wants it forgotten."""
    if not asked.store:
        return
    house.health.require("postgres")
    row = ResponseRow(
        tenant=ask.tenant,
        response_id=ask.head.id,
        model=asked.model,
        begun=begun(asked, ask).model_dump_json(by_alias=True),
        items=write_items(items_of(asked.input, ask.head.id)),
        previous_id=asked.previous_response_id,
        conversation_id=None,
        background=False,
        created_at=ask.began,
        deadline=ask.deadline,
    )
    await responses.keep(house.pool, row)


RESPONSES = Endpoint(
    path="/v1/responses",
    prefix="resp_",
    asks=ResponseRequest,
    gives=Response,
    event=ResponseStreamEvent,
    about="An answer as items: text, reasoning, calls of functions; with `stream: true` as events.",
    generations=_generations,
    whole=lambda asked, ask: WholeResponse(begun(asked, ask), speech(asked, ask)),
    streamed=_streamed,
    conversation=lambda asked: asked.prompt_cache_key,
    recall=recall,
    keep=keep,
)
