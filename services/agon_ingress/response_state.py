"""A kept response as it stands: told from what was asked, and from how it ended, by the same machine that told it to
its client. Pure."""

from datetime import datetime

from agon.messages import GenerationCompleted
from agon.store.responses import ResponseRow
from agon.stream.frames import End
from agon_ingress.errors import from_end
from agon_ingress.response_items import Item, Items, read_items
from agon_ingress.response_telling import ResponseMachine
from agon_ingress.response_types import Response
from agon_ingress.telling import Speech


def begun(row: ResponseRow) -> Response:
    """The response before it had any output."""
    return Response.model_validate_json(row.begun)


def ended(row: ResponseRow, end: GenerationCompleted) -> Response:
    """The response, with all that it says."""
    machine = ResponseMachine(begun(row), Speech())
    for choice in end.choices:
        for _ in machine.recorded(choice, end.usage.reasoning_tokens):
            pass
    final = final_of(end)
    events = machine.end([final]) if end.status == "finished" else machine.error(from_end(final))
    for _ in events:
        pass
    return machine.response


def expired(row: ResponseRow) -> Response:
    """Its deadline has passed, and nobody has said how it ended."""
    machine = ResponseMachine(begun(row), Speech())
    for _ in machine.error(from_end(_end("expired", "deadline_exceeded", row.deadline))):
        pass
    return machine.response


def items(row: ResponseRow, response: Response) -> Items:
    """What it adds to a conversation: its input, then its output."""
    output: tuple[Item, ...] = response.output
    return (*read_items(row.items), *output)


def final_of(end: GenerationCompleted) -> End:
    """The final frame that its worker wrote."""
    usage, error = end.usage, end.error
    return End(
        end.status,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        end.timings.finished_at.timestamp(),
        None if error is None else error.message,
        None if error is None else error.type,
        None if error is None else error.code,
    )


def _end(status: str, code: str, at: datetime) -> End:
    return End(status, 0, 0, 0, at.timestamp(), "The deadline passed before the answer was complete.", None, code)
