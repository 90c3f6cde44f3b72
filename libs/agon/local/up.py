"""`agon up`: the stack in the foreground until Ctrl-C, SIGTERM or SIGHUP."""

import asyncio
import os
import shlex
import signal
from pathlib import Path

from agon.backends.spec import BackendSpec
from agon.errors import SetupError
from agon.local.data import DataFolder
from agon.local.ports import free_port, is_free
from agon.local.stack import Stack, StackOptions, open_to_all
from agon.local.terminal import Terminal
from agon.settings import is_loopback

USUAL_PORT = 8000


def model_spec(text: str) -> str:
    """`MODEL=SOURCE` as it is; a hub id or a folder alone is served under its own name. Raises `SetupError`.

    What can be seen to be wrong is said here, before a worker has spent seconds on its start.
    """
    if "=" not in text:
        text = f"{Path(text).name if Path(text).is_dir() else text}={text}"
    spec = BackendSpec.parse(text)
    if spec.kind == "engine" and spec.source.startswith(("/", ".")) and not Path(spec.source).is_dir():
        raise SetupError(f"the model `{spec.model}`: there is no folder {spec.source}")
    return text


def check_host(host: str, allowed: bool) -> None:
    """Raises `SetupError` for a host that others can reach, unless that is `allowed`, and for one that is not ours."""
    try:
        reachable = not is_loopback(host)
    except OSError as error:
        raise SetupError(f"--host {host} is no address of this machine ({error.strerror})") from error
    if reachable and not allowed:
        raise SetupError(open_to_all(host))


def may_have_keys(data: DataFolder) -> bool:
    """Whether there is a database in which API keys could be. The stack looks, once that runs."""
    return bool(os.environ.get("AGON_POSTGRES_URL")) or data.folder("postgres").exists()


def choose_port(host: str, wanted: int | None) -> int:
    """The port that was asked for (0 for any); else 8000, or any while that is taken. Raises `SetupError`."""
    port = USUAL_PORT if wanted is None else wanted
    if port == 0:
        return free_port(host)
    try:
        if is_free(host, port):
            return port
    except OSError as error:
        raise SetupError(f"--host {host} is no address of this machine ({error.strerror})") from error
    if wanted is None:
        return free_port(host)
    raise SetupError(f"port {port} is taken: stop what listens there, or give another --port (0 for any that is free)")


def stopping_signals() -> list[signal.Signals]:
    """What ends the stack. Started with `nohup`, it stays when the terminal goes."""
    stays = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if stays else [signal.SIGHUP])]


async def up(data: DataFolder, options: StackOptions, terminal: Terminal) -> None:
    """Run the stack until it is told to stop. Raises `SetupError`; nothing is left running either way."""
    stack = Stack(data, options, terminal)
    main = asyncio.current_task()
    stopping = False

    def told_to_stop() -> None:
        nonlocal stopping
        if stopping:
            stack.hurry.set()
        elif main is not None:
            stopping = True
            main.cancel()

    loop = asyncio.get_running_loop()
    for number in stopping_signals():
        loop.add_signal_handler(number, told_to_stop)
    try:
        await stack.start()
        _invite(terminal, stack, data, await stack.models())
        await stack.watch()
    except asyncio.CancelledError:
        if not stopping:
            raise
        terminal.tell("stopping", "open answers may finish; once more to stop at once")
    finally:
        stopping = True
        await stack.stop()
    terminal.tell("stopped", f"what was stored stays in {data.path}")


def _invite(terminal: Terminal, stack: Stack, data: DataFolder, models: list[str]) -> None:
    """Where it answers, and what a newcomer may try next."""
    terminal.plain(f"ready {stack.url}")
    where = "" if data.path == Path(".agon").absolute() else f" --data {shlex.quote(str(data.path))}"
    if models:
        body = f'{{"model":"{models[0]}","messages":[{{"role":"user","content":"What is 7 plus 5?"}}]}}'
        key = ' -H "authorization: Bearer $AGON_API_KEY"' if stack.keys else ""
        terminal.plain(
            f"\n  curl {stack.url}/v1/chat/completions{key} -H 'content-type: application/json' -d {shlex.quote(body)}"
        )
    terminal.plain(f"  agon chat{where}\n  agon simulate --votes 100{where}")
    if stack.state.analyst:
        query = "select * from analytics.leaderboard_current"
        terminal.plain(f'  {stack.psql} {stack.state.analyst} -c "{query}"')
    terminal.plain(f"\n  logs in {data.logs}, `agon status{where}` for what runs, Ctrl-C stops all of it\n")
