"""The composition root of the vote ingest: votes in, judged votes out, each exactly once."""

import asyncio
import contextlib
import gc
import signal
import sys

import uvloop

from agon.bus.batches import BatchConsumer, reader
from agon.bus.clients import started_producer
from agon.bus.dead_letters import DeadLetters
from agon.errors import SetupError
from agon.health import serve_health
from agon.messages import VoteCast
from agon.store.migrations import require_migrated
from agon.store.offsets import Offsets
from agon.store.pool import classify, open_pool, ping
from agon.telemetry import Metrics, configure_logging
from agon_vote_ingest.intake import Intake
from agon_vote_ingest.relay import Relay
from agon_vote_ingest.settings import VoteIngestSettings

_ENOUGH = 256 * 1024
"""Bytes of votes, some thousand, for which no batch waits any longer: for each, Postgres waits for the disk."""


async def serve(settings: VoteIngestSettings) -> None:
    """Run until SIGTERM or SIGINT; then finish the batch at hand."""
    metrics = Metrics()
    topics = settings.topics
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.postgres_url, settings.name))
        await require_migrated(pool)
        producer = await stack.enter_async_context(started_producer(settings))
        offsets = Offsets(pool, "vote_ingest")
        consumer = BatchConsumer(
            settings,
            [topics.votes],
            group=topics.group("vote_ingest"),
            keeper=offsets,
            read=reader(VoteCast),
            store=Intake(pool, offsets, settings.session_secret.get_secret_value(), metrics).store,
            classify=classify,
            dead_letters=DeadLetters(producer, topics.group("vote_ingest"), metrics),
            most=settings.batch,
            enough=_ENOUGH,
        )

        async def ready() -> dict[str, str | None]:
            return {"postgres": await ping(pool), "kafka": consumer.problem}

        await stack.enter_async_context(serve_health(settings, metrics, ready))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, consumer.stop)
        # A batch is a hundred thousand objects, none of them in a cycle: looking for some takes a tenth of the time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000)
        # What the relay has not published when it is cancelled is still in the table.
        await consumer.run_with(Relay(settings, pool, metrics).run())


def main() -> None:
    """`python -m agon_vote_ingest`. Exit 0 after a clean stop, 2 when settings or the machine lack something."""
    try:
        settings = VoteIngestSettings.load()
        configure_logging(settings.name, settings.log_level, settings.log_format)
        uvloop.run(serve(settings))
    except SetupError as error:
        print(f"agon_vote_ingest: {error}", file=sys.stderr)
        sys.exit(2)
