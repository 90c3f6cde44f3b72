"""A batch's lines count towards its key's limits, as over HTTP: reserved before they go out, settled by the engines'
counts. What a key can't have now waits; what it can never have is refused."""

from typing import Any

from agon.errors import OutOfBudget, RateLimited
from agon.store import batch_lines
from agon.store.batch_lines import Line
from agon.store.batches import Hold
from agon_ingress.access.allowances import Allowance
from agon_ingress.access.callers import Caller
from agon_ingress.batches.lines import Work
from agon_ingress.house import House


class BatchAllowance:
    """Of the lines that one process has sent. What a process that died has sent is counted when it has ended."""

    def __init__(self, house: House, hold: Hold) -> None:
        self._house = house
        self._hold = hold
        self._lines: dict[int, Allowance] = {}

    async def reserve(self, caller: Caller, line: Line, work: Work[Any]) -> bool:
        """Whether the line may go out now. Raises `OutOfBudget` where it never may: nothing that is under way could
        still turn out to need less."""
        try:
            reserved = await self._house.allowances.reserve(
                caller, work.requests, len(line.body), work.ask.card, found_again=True
            )
        except RateLimited as error:
            if isinstance(error, OutOfBudget) and not self._lines:
                raise
            return False
        if caller.key is not None and caller.key.limits.any:
            self._lines[line.line] = reserved
        return True

    async def settle(self, caller: Caller) -> None:
        """Count what has ended."""
        if caller.key is None or not caller.key.limits.any:
            return
        ended = await batch_lines.unsettled(self._hold)
        for line, tokens in ended.items():
            if (reserved := self._lines.pop(line, None)) is not None:
                reserved.settle(tokens)
            else:
                await self._house.allowances.charge(caller.key, tokens)
        await batch_lines.settle(self._hold, list(ended))

    def close(self) -> None:
        """Give back what was not needed, or will be counted by somebody else."""
        for reserved in self._lines.values():
            reserved.settle(0)
        self._lines.clear()
