"""The composition root of the ingress: routes, errors, the house, two ports."""

import asyncio
import contextlib
import functools
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator

import uvloop
from fastapi import FastAPI

from agon import __version__
from agon.errors import SetupError
from agon.telemetry import Metrics, configure_logging
from agon_ingress import front, models, openapi, probes, routes
from agon_ingress.absent.routes import router as absent
from agon_ingress.access.callers import Door
from agon_ingress.arena.arena import open_arena
from agon_ingress.arena.routes import router as arena
from agon_ingress.asking.straight import Straight
from agon_ingress.batches.driver import Driver
from agon_ingress.batches.routes import router as batches
from agon_ingress.chat.stored import router as stored_chats
from agon_ingress.files import routes as files
from agon_ingress.house import open_house, running
from agon_ingress.http import errors
from agon_ingress.http.edge import Edge
from agon_ingress.http.server import listen, make_server, serving
from agon_ingress.responses.conversations import router as conversations
from agon_ingress.responses.kept import router as kept_responses
from agon_ingress.settings import IngressSettings
from agon_ingress.sweeping import sweeping

ROUTERS = (
    front.router,
    routes.router,
    stored_chats,
    kept_responses,
    files.router,
    batches,
    conversations,
    models.router,
    absent,
    arena,
    probes.router,
)


def create_app(settings: IngressSettings, internal: socket.socket | None = None) -> FastAPI:
    """The public app. Its lifespan opens the house (`app.state.house`) and, given a socket, the internal port."""
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            app.state.house = await stack.enter_async_context(open_house(settings, metrics))
            app.state.arena = await stack.enter_async_context(open_arena(app.state.house))
            app.state.batches = Driver(app.state.house)
            await stack.enter_async_context(running(app.state.batches.run(), sweeping(app.state.house)))
            if internal is not None:
                await stack.enter_async_context(serving(probes.internal_app(app.state.house), internal))
            yield

    app = FastAPI(
        title="agon",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # many clients drop the body or the key on their way
    )
    errors.install(app)
    app.add_middleware(Straight, endpoints=routes.ENDPOINTS)
    app.add_middleware(Door, public_arena=settings.public_arena)
    larger = {"/v1/files": settings.max_file_bytes + files.ENVELOPE}
    app.add_middleware(Edge, max_body_bytes=settings.max_body_bytes, metrics=metrics, larger=larger)
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = functools.partial(openapi.document, app)  # type: ignore[method-assign]
    return app


async def serve(settings: IngressSettings) -> None:
    """Run until SIGTERM or SIGINT; then let open answers finish, for at most the drain time."""
    public = listen(settings.http_host, settings.http_port)
    internal = None if settings.metrics_port is None else listen(settings.metrics_host, settings.metrics_port)
    app = create_app(settings, internal)
    server = make_server(app, settings.drain_timeout, settings.max_head_bytes, lifespan=True)

    def stop() -> None:
        server.force_exit = server.should_exit  # asked twice: at once
        server.should_exit = True
        if server.started:
            app.state.arena.boards.close()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    # What is here now stays. Looking through it takes the garbage collector tens of ms, in which no token moves.
    gc.collect()
    gc.freeze()
    await server.serve([public])


def main() -> None:
    """`python -m agon_ingress`. Exit 0 after a clean stop, 2 when settings or the machine lack something."""
    try:
        settings = IngressSettings.load()
        configure_logging(settings.name, settings.log_level, settings.log_format)
        uvloop.run(serve(settings))
    except SetupError as error:
        print(f"agon_ingress: {error}", file=sys.stderr)
        sys.exit(2)
