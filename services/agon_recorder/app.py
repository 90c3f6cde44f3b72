"""The composition root of the recorder: completions and model cards from Kafka into Postgres, exactly once."""

import asyncio
import contextlib
import signal
import sys

import uvloop

from agon.bus.batches import BatchConsumer
from agon.bus.clients import started_producer
from agon.bus.dead_letters import DeadLetters
from agon.errors import SetupError
from agon.health import serve_health
from agon.settings import MIB
from agon.store.migrations import require_migrated
from agon.store.offsets import Offsets
from agon.store.pool import classify, open_pool, ping
from agon.telemetry import Metrics, configure_logging
from agon_recorder.recording import Recording, make_read
from agon_recorder.settings import RecorderSettings

_ENOUGH = MIB
"""Bytes that are never waited for longer than 50 ms: who asks for an answer that has just ended waits a little, and a
transaction for each answer would take as much of the processor as the answer does."""


async def serve(settings: RecorderSettings) -> None:
    """Run until SIGTERM or SIGINT; then finish the batch at hand."""
    metrics = Metrics()
    topics = settings.topics
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.postgres_url, settings.name))
        await require_migrated(pool)
        producer = await stack.enter_async_context(started_producer(settings))
        offsets = Offsets(pool, "recorder")
        consumer = BatchConsumer(
            settings,
            [topics.completions, topics.models],
            group=topics.group("recorder"),
            keeper=offsets,
            read=make_read(topics),
            store=Recording(pool, offsets, metrics).store,
            classify=classify,
            dead_letters=DeadLetters(producer, topics.group("recorder"), metrics),
            most=settings.batch,
            enough=_ENOUGH,
        )

        async def ready() -> dict[str, str | None]:
            return {"postgres": await ping(pool), "kafka": consumer.problem}

        await stack.enter_async_context(serve_health(settings, metrics, ready))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, consumer.stop)
        await consumer.run()


def main() -> None:
    """`python -m agon_recorder`. Exit 0 after a clean stop, 2 when settings or the machine lack something."""
    try:
        settings = RecorderSettings.load()
        configure_logging(settings.name, settings.log_level, settings.log_format)
        uvloop.run(serve(settings))
    except SetupError as error:
        print(f"agon_recorder: {error}", file=sys.stderr)
        sys.exit(2)
