"""The composition root of the rating compute: judged votes in, boards out."""

import argparse
import asyncio
import contextlib
import gc
import signal
import sys

import uvloop
from redis.asyncio import Redis

from agon.bus.batches import BatchConsumer
from agon.bus.clients import started_producer
from agon.bus.dead_letters import DeadLetters
from agon.errors import SetupError
from agon.health import serve_health
from agon.store.battles import require_arena
from agon.store.migrations import require_migrated
from agon.store.offsets import Offsets
from agon.store.pool import classify, open_pool, ping
from agon.telemetry import Metrics, configure_logging
from agon_rating_compute.boards import Boards
from agon_rating_compute.counting import Counting, read
from agon_rating_compute.runs import publish_all, publish_regularly
from agon_rating_compute.settings import RatingComputeSettings


async def serve(settings: RatingComputeSettings) -> None:
    """Run until SIGTERM or SIGINT; then finish the batch at hand."""
    metrics = Metrics()
    topics = settings.topics
    patience = settings.redis_timeout.total_seconds()
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.postgres_url, settings.name))
        await require_migrated(pool)
        producer = await stack.enter_async_context(started_producer(settings))
        redis = Redis.from_url(settings.redis_url, socket_timeout=patience, socket_connect_timeout=patience)
        stack.push_async_callback(redis.aclose)
        boards = Boards(settings, pool, producer, redis, metrics)
        offsets = Offsets(pool, "rating_compute")
        consumer = BatchConsumer(
            settings,
            [topics.accepted_votes],
            group=topics.group("rating_compute"),
            keeper=offsets,
            read=read,
            store=Counting(pool, offsets, metrics, boards.counted).store,
            classify=classify,
            dead_letters=DeadLetters(producer, topics.group("rating_compute"), metrics),
            most=settings.batch,
        )

        async def ready() -> dict[str, str | None]:
            return {"postgres": await ping(pool), "kafka": consumer.problem}

        await stack.enter_async_context(serve_health(settings, metrics, ready))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, consumer.stop)
        # Votes and boards are thousands of objects, none of them in a cycle: a board waits for each look at them.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000)
        await consumer.run_with(
            boards.run(), boards.announce_regularly(), publish_regularly(pool, settings.publish_every.total_seconds())
        )


async def publish(settings: RatingComputeSettings, tenant: str | None, arena: str | None) -> None:
    """Publish runs now and say which."""
    async with open_pool(settings.postgres_url, settings.name) as pool:
        await require_migrated(pool)
        await require_arena(pool, tenant, arena)
        boards = await publish_all(pool, tenant, arena)
    for board in boards:
        which = f"{board.arena}/{board.slice} by {board.method}"
        print(f"published {which}: {board.votes} votes, {len(board.rows)} models ranked")
    if not boards:
        print("nothing to publish: no vote since the last run")


def main() -> None:
    """`python -m agon_rating_compute [publish]`. Exit 0 after a clean end, 2 when settings or the machine lack
    something."""
    parser = argparse.ArgumentParser("agon_rating_compute", description="Keep the live boards up to date.")
    commands = parser.add_subparsers(dest="command")
    once = commands.add_parser("publish", help="publish a run of each slice that has new votes, and end")
    once.add_argument("--tenant", help="only this tenant's arenas")
    once.add_argument("--arena", help="only this arena, such as: main")
    given = parser.parse_args()
    try:
        settings = RatingComputeSettings.load()
        configure_logging(settings.name, settings.log_level, settings.log_format)
        uvloop.run(publish(settings, given.tenant, given.arena) if given.command == "publish" else serve(settings))
    except SetupError as error:
        print(f"agon_rating_compute: {error}", file=sys.stderr)
        sys.exit(2)
