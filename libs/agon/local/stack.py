"""The whole stack as children of this process: started in order, kept running, stopped in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from agon.errors import SetupError
from agon.local import backends as backend_room
from agon.local.backends import Backend
from agon.local.children import Child, last_lines
from agon.local.data import DataFolder, Secrets
from agon.local.ports import LOOPBACK, free_port
from agon.local.probing import get_json, is_ready
from agon.local.server import Server
from agon.local.services import Service, Stage, shared_environment
from agon.local.services import services as service_plan
from agon.local.state import BackendState, StackState, end_leftovers
from agon.local.supervised import Ready, Start, Supervised
from agon.local.terminal import Terminal
from agon.settings import is_loopback

_GRACE = 20.0
"""Seconds that a service may drain; its own limit is 10."""
_STAGES: tuple[Stage, ...] = ("front", "workers", "consumers")
_HEAD_START = 10.0
"""Seconds that the other workers leave the processors to the first, which a chat needs."""
_QUIET = 5.0
"""Seconds without a line before the next sign of life."""
_TRIM_EVERY = 60.0


def open_to_all(host: str) -> str:
    """The line for a host that others can reach, without a key."""
    return (
        f"--host {host} lets everybody on the network in, and there is no API key to ask for: start once without it "
        "and run `agon keys create`, or add --insecure if that is meant"
    )


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Where it answers, how many workers it has, and what they serve (`MODEL=SOURCE`; none for the bundled ones).

    `insecure`: others on the network may reach it although there is no API key.
    """

    host: str = LOOPBACK
    port: int = 8000
    workers: int = 2
    models: tuple[str, ...] = ()
    insecure: bool = False


@dataclass(slots=True)
class _Part:
    """A supervised child, what stops it, and the task that keeps it running."""

    supervised: Supervised
    task: "asyncio.Task[None]"
    server: Server | None = None
    stage: Stage | None = None


class Stack:
    """`start`, then `watch` until something must end it, then `stop`; `hurry` makes the stop immediate."""

    def __init__(self, data: DataFolder, options: StackOptions, terminal: Terminal) -> None:
        self.state = StackState()
        self.hurry = asyncio.Event()
        self.psql = "psql"
        self.keys = 0
        self._data = data
        self._options = options
        self._terminal = terminal
        self._servers: list[_Part] = []
        self._services: list[_Part] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ports: dict[str, int] = {}
        self._backends: dict[str, Backend] = {}

    @property
    def url(self) -> str:
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        return f"http://{host}:{self._options.port}"

    async def start(self) -> None:
        """Return once a chat would succeed. Raises `SetupError` when that can't be without a person's help."""
        self._data.fresh_logs()
        for name in end_leftovers(self._data):
            self._terminal.tell(name, "was left behind by a stack that was killed; ended it")
        secrets = self._data.secrets()
        self._backends = backend_room.choose(self._data, secrets, lambda line: self._terminal.tell("kafka", line))
        for backend in self._backends.values():
            if backend.server is not None:
                backend.server.reserve()
        options = self._options
        self.state.http = self.url
        plan = service_plan(options.host, options.port, options.workers, options.models, options.insecure)
        # The first worker loads its models while Kafka starts, and waits for it by itself; the rest would wait from the
        # beginning, and take the processors from both.
        first, *rest = plan
        told = self._environment(secrets)
        self._supervise_service(first, secrets)
        await self._unless_failed(self._start_backends(self._backends, secrets))
        self.keys = await backend_room.count_keys(self._backends["postgres"])
        self._tell_keys()
        self.state.analyst = backend_room.analyst_url(self._backends["postgres"], secrets)
        self.psql = backend_room.psql(self._backends["postgres"])
        if self._environment(secrets) != told and self._services[0].supervised.child is not None:
            await self._services[0].supervised.child.stop(grace=0)  # it looks for a server where none is
        for service in rest:
            self._supervise_service(service, secrets)
        self._terminal.tell("services", ", ".join(part.supervised.name for part in self._services))
        await self._unless_failed(self._until_ready())

    async def watch(self) -> None:
        """Keep everything running; returns never, raises what can't be helped."""
        await self._unless_failed(self._trim_logs())

    async def models(self) -> list[str]:
        """What is served, largest first."""
        # From the internal port: the public one may ask for a key.
        listed = await get_json(LOOPBACK, self._ports["ingress"], "/admin/models") or {"models": []}
        served = [model for model in listed["models"] if model["served"]]
        by_size = sorted(served, key=lambda model: model["parameters"] or 0, reverse=True)
        return [str(model["model"]) for model in by_size]

    async def stop(self) -> None:
        """Drain and end everything, in order; by force once `hurry` is set."""
        for stage in _STAGES:
            await self._stop(part for part in self._services if part.stage == stage)
        await self._stop(self._servers)
        if self._failed.done() and not self._failed.cancelled():
            self._failed.exception()  # it was told already
        self._write()

    def _tell_keys(self) -> None:
        """Raises `SetupError` where everybody on the network would be let in, and nobody said that this is meant."""
        if not self.keys and not is_loopback(self._options.host) and not self._options.insecure:
            raise SetupError(open_to_all(self._options.host))
        told = f"{self.keys}: closed to all who have none" if self.keys else "none: open to all on this machine"
        self._terminal.tell("api keys", told)

    async def _start_backends(self, backends: dict[str, Backend], secrets: Secrets) -> None:
        """All at once; each is set up as soon as it answers."""
        async with self._signs_of_life(), asyncio.TaskGroup() as group:
            for backend in backends.values():
                group.create_task(self._start_backend(backend, secrets), name=f"start-{backend.name}")

    async def _start_backend(self, backend: Backend, secrets: Secrets) -> None:
        server = backend.server
        if server is None:
            await backend_room.set_up(backend, secrets)
            self.state.backends[backend.name] = BackendState(backend.url, "external")
            self._terminal.tell(backend.name, "taken from the environment")
            return
        supervised = self._supervised(backend.name, server.start, server.answers)
        self._servers.append(_Part(supervised, self._keep_running(supervised), server=server))
        await supervised.once_ready.wait()
        await backend_room.set_up(backend, secrets)
        self.state.backends[backend.name] = BackendState(backend.url, "embedded", supervised.state)
        self._write()
        self._terminal.tell(backend.name, f"on {server.address}, data in {server.folder}")

    def _environment(self, secrets: Secrets) -> dict[str, str]:
        urls = {name: backend.near_url for name, backend in self._backends.items()}
        return shared_environment(urls, secrets.session, secrets.keys)

    def _supervise_service(self, service: Service, secrets: Secrets) -> None:
        first = self._services[0].supervised if self._services else None

        async def start() -> Child:
            if service.stage == "workers" and first is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_HEAD_START):
                        await first.once_ready.wait()
            # A new port at each start: whoever took the old one meanwhile keeps it.
            self._ports[service.name] = free_port()
            if service.stage == "front":
                self.state.internal = f"http://{LOOPBACK}:{self._ports[service.name]}"
            own = {"AGON_NAME": service.name, "AGON_METRICS_PORT": str(self._ports[service.name])}
            return await Child.start(
                service.command,
                self._data.log(service.name),
                env={**self._environment(secrets), **service.environment, **own},
            )

        async def ready() -> bool:
            answered = await is_ready(LOOPBACK, self._ports[service.name])
            if answered and not supervised.once_ready.is_set():
                self._terminal.tell(service.name, "runs")
            return answered

        supervised = self._supervised(service.name, start, ready)
        self.state.services.append(supervised.state)
        self._services.append(_Part(supervised, self._keep_running(supervised), stage=service.stage))

    def _supervised(self, name: str, start: Start, ready: Ready) -> Supervised:
        return Supervised(name, self._data.log(name), start, ready, self._terminal.tell, self._write)

    def _keep_running(self, supervised: Supervised) -> "asyncio.Task[None]":
        task = asyncio.create_task(supervised.run(), name=supervised.name)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _unless_failed(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`; a part that fails meanwhile ends it with its error."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                await self._failed
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _until_ready(self) -> None:
        async with self._signs_of_life():
            while not await is_ready(self._reachable_host, self._options.port):  # noqa: ASYNC110  it can only be asked
                await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def _signs_of_life(self) -> AsyncIterator[None]:
        """While it lasts, a start is never silent for long."""
        telling = asyncio.create_task(self._tell_who_is_late())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell_who_is_late(self) -> None:
        """Whenever nothing was said for a while: who is awaited, and what the first of them said last."""
        while True:
            if self._terminal.silent_for > _QUIET:
                parts = (part.supervised for part in (*self._servers, *self._services))
                late = [part for part in parts if not part.once_ready.is_set()]
                said = last_lines(self._data.log(late[0].name)) if late else ""
                said = said.partition(" INFO ")[2] or said  # when, and whose log it is, is known here
                self._terminal.tell("waiting for", f"{', '.join(part.name for part in late)}  {said[:100]}")
            await asyncio.sleep(0.1)

    @property
    def _reachable_host(self) -> str:
        return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self._options.host, self._options.host)

    async def _stop(self, parts: Iterable[_Part]) -> None:
        await asyncio.gather(*(self._stop_one(part) for part in parts))

    async def _stop_one(self, part: _Part) -> None:
        async def end() -> None:
            if part.server is not None:
                await part.server.stop()
            elif part.supervised.child is not None:
                await part.supervised.child.stop(grace=_GRACE)

        stopping = asyncio.create_task(part.supervised.stop(part.task, end))
        hurried = asyncio.create_task(self.hurry.wait())
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        child = part.supervised.child
        if not stopping.done() and child is not None:
            await child.stop(grace=0)
        await stopping

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(_TRIM_EVERY)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._data.trim_logs)

    def _write(self) -> None:
        """A full disk must not end a stack that runs: then `agon status` is old, and the terminal says so."""
        try:
            self.state.write(self._data)
        except OSError as error:
            self._terminal.tell("status", f"could not be written: {error.strerror}")
