"""What a response asks for, as chats have it. Pure."""

from agon.messages import ModelCard, ResponseFormat, Tool, formats, tool_choice, tools
from agon_ingress.asking.telling import Speech
from agon_ingress.responses.types import (
    AllowedFunctions,
    NamedTool,
    Response,
    ResponseFormatJsonObject,
    ResponseFormatJsonSchema,
    ResponseRequest,
)

RENAMED = {"messages": "input", "response_format": "text.format", "max_completion_tokens": "max_output_tokens"}
"""What chats call a field, and what responses call it."""


def offered(asked: ResponseRequest | Response) -> tuple[Tool, ...] | None:
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


def chosen(asked: ResponseRequest | Response) -> tool_choice.ToolChoice:
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


def speech(asked: ResponseRequest | Response, card: ModelCard | None) -> Speech:
    """How this answer is to be read; where the model is not known any more, all that it said is text."""
    if card is None:
        return Speech()
    offer = tool_choice.calling(offered(asked), chosen(asked), asked.parallel_tool_calls)
    return Speech(card.tool_format, offer.names, card.reasoning, offer.several)
