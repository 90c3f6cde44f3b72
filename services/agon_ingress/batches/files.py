"""The two files of a batch: the answers, and the lines that ended in an error. They are written to temporary files
first, then stored with the end of the batch in one transaction: there are two whole files, or none yet."""

import asyncio
import secrets
import tempfile
from collections import Counter
from datetime import timedelta
from typing import IO, Any

from agon.store import batch_lines, files
from agon.store.batches import Hold, Outcome
from agon_ingress.batches.lines import Lines, Output
from agon_ingress.batches.pace import Pace
from agon_ingress.files.routes import BATCH_FILES_LAST

_AT_ONCE = 16
_IN_MEMORY = 1024 * 1024


class Spool:
    """A temporary file that is written, then read, without blocking the event loop."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.lines = 0

    async def write(self, data: bytes, lines: int) -> None:
        self.lines += lines
        await asyncio.to_thread(self._file.write, data)

    async def rewind(self) -> None:
        await asyncio.to_thread(self._file.seek, 0)

    async def read(self, size: int) -> bytes:
        return await asyncio.to_thread(self._file.read, size)


async def write_files(
    hold: Hold, lines: Lines[Any], pace: Pace, outcome: Outcome, expires_after: timedelta | None
) -> None:
    """End a batch: every line is in one of its files, once. Raises `Fenced` when somebody else has it by now."""
    usage: Counter[str] = Counter(input=0, cached=0, output=0, reasoning=0)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as good, tempfile.SpooledTemporaryFile(_IN_MEMORY) as bad:
        well, badly = Spool(good), Spool(bad)
        after = 0
        while found := await batch_lines.ended(hold, after, _AT_ONCE):
            after = found[-1].line.line
            outputs = []
            for ended in found:
                outputs.append(lines.output(ended, None if outcome == "completed" else outcome))
                await pace.rest()
            await well.write(*_joined(outputs, well=True))
            await badly.write(*_joined(outputs, well=False))
            for said in (said for ended in found for said in ended.completions if said is not None):
                usage["input"] += said.usage.prompt_tokens
                usage["cached"] += said.usage.cached_tokens
                usage["output"] += said.usage.completion_tokens
                usage["reasoning"] += said.usage.reasoning_tokens or 0
            await hold.renew()
        async with hold.pool.acquire() as connection, connection.transaction():
            await hold.renew(connection)
            made: dict[str, str | None] = {}
            for what, spool in (("output", well), ("error", badly)):
                made[f"{what}_file_id"] = None
                if spool.lines:
                    await spool.rewind()
                    row = await files.write(
                        connection,
                        hold.tenant,
                        f"file-{secrets.token_hex(12)}",
                        spool,
                        filename=f"{hold.batch_id}_{what}.jsonl",
                        purpose="batch_output",
                        expires_after=expires_after or BATCH_FILES_LAST,
                    )
                    made[f"{what}_file_id"] = row.file_id
            await hold.end(connection, outcome, completed=well.lines, failed=badly.lines, usage=usage, **made)


def _joined(outputs: list[Output], *, well: bool) -> tuple[bytes, int]:
    lines = [output.data for output in outputs if output.well is well]
    return b"".join(lines), len(lines)
