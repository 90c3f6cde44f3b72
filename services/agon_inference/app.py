"""The composition root of a worker: settings, backends, connections, registration, and the worker itself."""

import asyncio
import contextlib
import gc
import signal
import sys

import uvloop
from aiokafka.errors import KafkaError

from agon.backends import BackendSpec
from agon.bus import registry
from agon.bus.clients import started_producer
from agon.engine import Limits
from agon.errors import SetupError
from agon.health import serve_health
from agon.stream.connection import connect
from agon.telemetry import Metrics, configure_logging
from agon_inference.model_topics import make_topics
from agon_inference.models import cards, load_backends
from agon_inference.settings import InferenceSettings
from agon_inference.unused import leave_out_unused
from agon_inference.worker import Worker


def specs(settings: InferenceSettings) -> list[BackendSpec]:
    """What to serve: as the settings say, else every bundled model. Raises `SetupError`."""
    if settings.models:
        return [BackendSpec.parse(text) for text in settings.models]
    from agon import nano

    return [BackendSpec(model, "engine", str(path)) for model, path in nano.models().items()]


async def serve(settings: InferenceSettings) -> None:
    """Run until SIGTERM or SIGINT, then drain. Raises `SetupError`, or what a part of the worker died of."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    metrics = Metrics()
    # Loading makes objects by the hundred thousand, and no garbage: looking for some takes a tenth of the time.
    gc.disable()
    async with contextlib.AsyncExitStack() as stack:
        wanted = specs(settings)
        leave_out_unused(wanted)
        backends = await load_backends(wanted, Limits(tensor_parallel=settings.tensor_parallel))
        await make_topics(settings, backends)
        producer = await stack.enter_async_context(started_producer(settings))
        await registry.register(settings, producer, cards(backends.values()))
        redis = connect(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        worker = Worker(settings, backends, redis, producer, metrics)
        await stack.enter_async_context(serve_health(settings, metrics, worker.ready))
        try:
            await worker.start()
        except KafkaError as error:
            await worker.stop(drain=False)
            raise SetupError(f"Kafka at {settings.kafka_url} lets nobody read: {error!r}") from error
        # What is here now stays. Looking through it takes the garbage collector tens of ms, in which no token moves.
        gc.collect()
        gc.freeze()
        gc.enable()
        asked, failed = asyncio.create_task(stopping.wait()), asyncio.create_task(worker.failed())
        await asyncio.wait((asked, failed), return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        broken = failed.done()
        failed.cancel()
        await worker.stop(drain=not broken)
        if broken:
            failed.result()


def main() -> None:
    """`python -m agon_inference`. Exit 0 after a clean stop, 2 when settings or the machine lack something."""
    try:
        settings = InferenceSettings.load()
        configure_logging(settings.name, settings.log_level, settings.log_format)
        uvloop.run(serve(settings))
    except SetupError as error:
        print(f"agon_inference: {error}", file=sys.stderr)
        sys.exit(2)
