"""The other end of the connection: work goes on only while somebody is there to get its result."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed its connection; the work was cancelled and has cleaned up."""


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, or until the client leaves: then cancel it, wait for its clean-up, raise `ClientGone`.

    To be called after the body was read: whatever else of it comes is passed over.
    """
    # Not in a task of its own: it would begin, and be heard of, one turn of the event loop later.
    working = asyncio.current_task()
    assert working is not None
    gone = False

    async def listen() -> None:
        nonlocal gone
        with contextlib.suppress(Exception):
            while (await receive())["type"] != "http.disconnect":
                pass
        gone = True
        working.cancel()

    listening = asyncio.create_task(listen())
    try:
        return await work
    except asyncio.CancelledError:
        if gone and working.cancelling() == 1:  # else the server stops as well
            raise ClientGone from None
        raise
    finally:
        listening.cancel()
        if gone:
            working.uncancel()
