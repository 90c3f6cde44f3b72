"""One batch on its way to its files. Every step may be repeated, by this process or by another one.

validating ──▶ in_progress ──▶ finalizing ──▶ completed
    │   │          │   └─ window over ──▶ expired
    │   └──────────┴─ cancelling ──▶ cancelled
    └▶ failed
"""

import asyncio
import contextlib
from typing import Any

from agon.bus.headers import event_headers
from agon.errors import AgonError, NotFound, TooLarge, Unauthorized, Unavailable
from agon.messages import GenerationRequest, now
from agon.store import batch_lines, files
from agon.store.batch_lines import Line, Sent
from agon.store.batches import BatchRow, Hold
from agon_ingress.access.callers import Caller
from agon_ingress.batches.allowance import BatchAllowance
from agon_ingress.batches.files import write_files
from agon_ingress.batches.input import Reading, lines
from agon_ingress.batches.lines import Lines, Work, refusal
from agon_ingress.batches.pace import Pace
from agon_ingress.house import House
from agon_ingress.routes import ENDPOINTS

_AT_ONCE = 32
"""Lines of a step."""
_TICK = 0.5
"""Seconds between two looks at how far it is."""
_ENDPOINTS = {endpoint.path: endpoint for endpoint in ENDPOINTS}


class BatchRun:
    """A batch that we hold."""

    def __init__(self, house: House, row: BatchRow, hold: Hold) -> None:
        self._house = house
        self._row = row
        self._hold = hold
        self._allowance = BatchAllowance(house, hold)
        self._pace = Pace(lambda: house.admission.open > 0)
        self._lines: Lines[Any] = Lines(house, _ENDPOINTS[row.endpoint], row.batch_id, row.tenant, row.expires_at)

    @property
    def batch_id(self) -> str:
        return self._row.batch_id

    async def run(self) -> None:
        """To its end. Raises `Fenced` when somebody else has it by now, `Unavailable` or what the store raises when
        something is away."""
        try:
            await self._run()
        finally:
            self._allowance.close()

    async def _run(self) -> None:
        if self._row.status == "validating":
            await self._validate()
        while self._row.status == "in_progress":
            if self._row.expires_at <= now():
                await self._stop()
                await self._settle()
                await write_files(self._hold, self._lines, self._pace, "expired", self._row.output_expires_after)
                return
            await self._go_on()
        await self._settle()
        if self._row.status == "cancelling":
            await self._stop()
            await self._settle()
            await write_files(self._hold, self._lines, self._pace, "cancelled", self._row.output_expires_after)
        elif self._row.status == "finalizing":
            await write_files(self._hold, self._lines, self._pace, "completed", self._row.output_expires_after)

    async def _validate(self) -> None:
        """Read the input file: its lines become rows, or the batch fails."""
        settings, row = self._house.settings, self._row
        reading = Reading(
            row.endpoint,
            most_lines=settings.max_batch_requests,
            most_bytes=settings.max_body_bytes,
            models={card.model for card in self._house.registry.active()},
        )
        if await files.read(self._hold.pool, row.tenant, row.input_file_id) is None:
            reading.note(NotFound("the input file was deleted before it was read", param="input_file_id"))
        parts = files.content(self._hold.pool, row.tenant, row.input_file_id)
        read: list[Line] = []
        async for number, data in lines(parts, settings.max_body_bytes):
            if (line := reading.read(number, data)) is not None:
                read.append(line)
            await self._pace.rest()
            if len(read) >= _AT_ONCE:
                await batch_lines.add(self._hold, read)
                read.clear()
            if reading.hopeless:
                break
        reading.end()
        await batch_lines.add(self._hold, read)
        async with self._hold.pool.acquire() as connection, connection.transaction():
            if reading.errors:
                self._row = await self._hold.fail(connection, reading.errors)
            else:
                self._row = await self._hold.begin(connection, reading.total)

    async def _go_on(self) -> None:
        """See how far it is, and ask with more lines where there is room."""
        await self._settle()
        progress = await batch_lines.progress(self._hold)
        self._row = await self._hold.count(progress.completed, progress.failed)
        if self._row.status == "in_progress" and progress.completed + progress.failed == self._row.total:
            self._row = await self._hold.finalize()
            return
        room = self._house.settings.max_batch_in_flight - progress.running
        if self._house.admission.memory > self._house.settings.redis_memory_share:
            room = 0
        now_is = asyncio.get_running_loop().time
        until = now_is() + _TICK
        while room > 0 and now_is() < until and (sent := await self._send(min(room, _AT_ONCE))):
            room -= sent
        await asyncio.sleep(until - now_is())

    async def _send(self, most: int) -> int:
        """Ask with the next lines; how many there were."""
        found = await batch_lines.unsent(self._hold, most)
        if not found:
            return 0
        self._house.health.require("redis", "kafka")
        work: dict[int, Work[Any]] = {}
        refused: dict[int, Any] = {}
        for line in found:
            try:
                made = await self._lines.work(line)
                caller = self._caller()
                caller.check_model(made.ask.card.model)
                if not await self._allowance.reserve(caller, line, made):
                    break
                work[line.line] = made
            except Unavailable:
                raise
            except AgonError as error:
                refused[line.line] = refusal(error)
            await self._pace.rest()
        sent = [
            Sent(one.request_id, line, part, one.model, made.keep_text)
            for line, made in work.items()
            for part, one in enumerate(made.requests)
        ]
        await batch_lines.expect(self._hold, sent)
        for made in work.values():
            await self._lines.keep(made)
        for one, request in zip(sent, [one for made in work.values() for one in made.requests], strict=True):
            if (too_large := await self._produce(request)) is not None:
                refused[one.line] = refusal(too_large)
            await self._pace.rest()
        await batch_lines.mark_sent(self._hold, [line for line in work if line not in refused], refused)
        return len(work.keys() | refused.keys())

    def _caller(self) -> Caller:
        """Who asked. Raises `Unauthorized` once the key is none any more."""
        return self._house.keyring.owner(self._row.tenant, self._row.key_id)

    async def _settle(self) -> None:
        """Count what has ended towards the limits of who asked; a key that was revoked has none."""
        with contextlib.suppress(Unauthorized):
            await self._allowance.settle(self._caller())

    async def _produce(self, request: GenerationRequest) -> TooLarge | None:
        """Onto the batch topic of its model. An error, where Kafka will never take it."""
        house = self._house
        try:
            await house.producer.produce(
                house.settings.topics.batch_requests(house.registry.cards[request.model].host),
                request.encode(),
                key=request.request_id.encode(),
                headers=event_headers(request, id=request.request_id, source=house.ingress_id),
            )
        except TooLarge as error:
            return error
        return None

    async def _stop(self) -> None:
        """Cancel what the workers have, and wait for its ends for a while: what has come by then is in the files."""
        patience = self._house.settings.batch_cancel_timeout.total_seconds()
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        cancelled: set[str] = set()
        while (left := await batch_lines.running(self._hold)) and loop.time() < until:
            for request_id, model in left:
                if request_id not in cancelled:
                    await self._house.gate.cancel(self._row.tenant, request_id, model)
                    cancelled.add(request_id)
            await self._hold.renew()
            await asyncio.sleep(_TICK)
