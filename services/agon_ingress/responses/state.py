"""A kept response as it stands: told from what was asked, and from how it ended, by the same machine that told it to
its client. Pure."""

from collections.abc import Callable, Iterable, Iterator

from agon.errors import Expired
from agon.messages import GenerationCompleted
from agon.store.responses import ResponseRow
from agon.stream.frames import Admission, Delta, End, Frame, body
from agon_ingress.asking.retelling import final_of
from agon_ingress.asking.telling import Speech
from agon_ingress.http.errors import from_end
from agon_ingress.responses.events import ResponseEvent
from agon_ingress.responses.items import Item, Items, read_items
from agon_ingress.responses.mapping import RENAMED
from agon_ingress.responses.telling import ResponseMachine
from agon_ingress.responses.types import Response

_PLAIN = Speech()


def begun(row: ResponseRow) -> Response:
    """The response before it had any output."""
    return Response.model_validate_json(row.begun)


def ended(row: ResponseRow, end: GenerationCompleted) -> Response:
    """The response, with all that it says."""
    return _run(row, lambda machine: replayed(machine, row, end))


def told(row: ResponseRow, speech: Speech, frames: Iterable[Frame]) -> Response:
    """The same by what its worker wrote, which is there before the record is."""
    return _run(row, lambda machine: heard(machine, row, frames), speech)


def expired(row: ResponseRow) -> Response:
    """Its deadline has passed, and nobody has said how it ended."""
    error = Expired("The deadline passed before the answer was complete.")
    return _run(row, lambda machine: machine.error(error))


def cancelled(row: ResponseRow) -> Response:
    """It was cancelled, and its worker has not said yet how far it came."""
    return _run(row, lambda machine: machine.cancelled(None))


def replayed(machine: ResponseMachine, row: ResponseRow, end: GenerationCompleted) -> Iterator[ResponseEvent]:
    """What the record says, as events."""
    yield from machine.admitted()
    for choice in end.choices:
        yield from machine.recorded(choice, end.usage.reasoning_tokens)
    yield from closing(machine, row, final_of(end))


def heard(machine: ResponseMachine, row: ResponseRow, frames: Iterable[Frame]) -> Iterator[ResponseEvent]:
    """What a worker writes, as events."""
    for frame in frames:
        match body(frame):
            case Admission():
                yield from machine.admitted()
            case Delta() as delta:
                yield from machine.delta(delta)
            case End() as end:
                yield from closing(machine, row, end)


def closing(machine: ResponseMachine, row: ResponseRow, end: End) -> Iterator[ResponseEvent]:
    """The last events. A response that was cancelled stays so, whatever its worker still said."""
    if end.status == "cancelled" or row.cancelled_at is not None:
        return machine.cancelled(end)
    return machine.end([end]) if end.status == "finished" else machine.error(from_end(end, RENAMED))


def _run(
    row: ResponseRow, events: Callable[[ResponseMachine], Iterator[ResponseEvent]], speech: Speech = _PLAIN
) -> Response:
    machine = ResponseMachine(begun(row), speech)
    for _ in events(machine):
        pass
    return machine.response


def items(row: ResponseRow, response: Response) -> Items:
    """What it adds to a conversation: its input, then its output."""
    output: tuple[Item, ...] = response.output
    return (*read_items(row.items), *output)
