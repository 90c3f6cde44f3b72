"""`agon chat` and `agon models` against a running ingress."""

import asyncio
import json
import os
import pty
import sys

import pytest

from agon.local.ports import free_port
from agon_ingress.http.server import listen, serving
from agon_ingress.probes import internal_app
from agon_ingress.settings import IngressSettings
from integration.agon_ingress.conftest import MODEL, FakeWorker, Ingress, Telling, eventually, register, until_cancelled

pytestmark = pytest.mark.servers


async def agon(*args: str, stdin: str | bytes = "") -> tuple[int, str, str]:
    """Run a command to its end: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agon.cli",
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, error = await process.communicate(stdin if isinstance(stdin, bytes) else stdin.encode())
    return process.returncode or 0, out.decode(), error.decode()


async def test_piped_lines_are_turns_of_one_conversation(ingress: Ingress, worker: FakeWorker) -> None:
    code, out, error = await agon("chat", MODEL, "--url", ingress.url, "--system", "Be brief.", stdin="Hi\n\nAgain\n")
    assert (code, out, error) == (0, "Hello wörld\nHello wörld\n", "")
    messages = worker.tellings[1].request.messages
    assert messages is not None
    assert [(message.role, message.text()) for message in messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello wörld"),
        ("user", "Again"),
    ]


async def test_piped_bytes_that_are_no_text_are_replaced(
    ingress: Ingress, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as in most languages' locales
    code, out, error = await agon("chat", MODEL, "--url", ingress.url, stdin=b"H\xff!\n")
    assert (code, out, error) == (0, "Hello wörld\n", "")
    messages = worker.tellings[0].request.messages
    assert messages is not None
    assert messages[0].text() == "H\ufffd!"


async def test_without_a_name_it_talks_with_the_largest(ingress: Ingress, worker: FakeWorker) -> None:
    code, out, _ = await agon("chat", "--url", ingress.url, "--max-tokens", "9", "--temperature", "0", stdin="Hi\n")
    assert (code, out) == (0, "Hello wörld\n")
    request = worker.tellings[0].request
    assert (request.limit, request.temperature) == (9, 0)


async def test_what_could_steer_the_terminal_is_left_out(ingress: Ingress, worker: FakeWorker) -> None:
    async def nasty(telling: Telling) -> None:
        await telling.admit()
        await telling.say("a\x1b]0;title\x07b\r\tc\n", finish="stop")
        await telling.end()

    worker.script = nasty
    assert (await agon("chat", MODEL, "--url", ingress.url, stdin="x\n"))[1] == "a]0;titleb\tc\n\n"


async def test_errors_are_one_line(ingress: Ingress, worker: FakeWorker, settings: IngressSettings) -> None:
    async def fail(telling: Telling) -> None:
        await telling.admit()
        await telling.say("Hel")
        await telling.end("failed", "the engine broke", "engine_failed")

    worker.script = fail
    nowhere = f"http://127.0.0.1:{free_port()}"
    for args, told in (
        (("chat", "nothing", "--url", ingress.url), "does not exist"),
        (("chat", MODEL, "--url", ingress.url), "the engine broke"),
        (("chat", "--url", nowhere), "agon up"),
        (("chat", "--url", "ftp://x"), "is no URL"),
        (("chat", "--data", "/nowhere/at/all"), "agon up"),
        (("models", "--url", nowhere), "agon up"),
        (("models", "--url", ingress.url), "nothing at this path"),
    ):
        code, _, error = await agon(*args, stdin="Hi\n")
        assert code == 2, args
        assert told in error
        assert error.startswith("agon: ")
        assert len(error.strip().splitlines()) == 1


async def test_ctrl_c_stops_an_answer_and_then_leaves(ingress: Ingress, worker: FakeWorker) -> None:
    worker.script = until_cancelled
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "agon.cli", "chat", MODEL, "--url", ingress.url),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    shown = bytearray()
    asyncio.get_running_loop().add_reader(ours, lambda: shown.extend(_read(ours)))
    try:
        await eventually(lambda: b"> " in shown)
        os.write(ours, b"Hi\n")
        await eventually(lambda: b"x x x" in shown)
        os.write(ours, b"\x03")
        await eventually(lambda: b"> " in shown.partition(b"(stopped)")[2])  # it asks again
        async with asyncio.timeout(60):
            await worker.tellings[0].cancelled.wait()
        shown.clear()
        os.write(ours, b"\x03")
        async with asyncio.timeout(60):
            assert await process.wait() == 0
        assert b"Traceback" not in shown
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


def _take_terminal() -> None:
    """Make standard input the terminal of the new session, so that Ctrl-C reaches it."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


async def test_models_tells_what_exists_and_who_serves_it(ingress: Ingress, settings: IngressSettings) -> None:
    await register(settings, "idle", parameters=1_500_000)
    await eventually(lambda: "idle" in ingress.house.registry.cards)
    sock = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with serving(internal_app(ingress.house), sock):
        code, out, _ = await agon("models", "--url", url)
        assert code == 0
        (_, served, idle) = out.splitlines()
        assert served.split()[:3] == [MODEL, "served", "scripted"]
        assert served.split()[-4:] == ["0", "0", "8", "fake"]
        assert idle.split()[:5] == ["idle", "not", "served", "scripted", "1,500,000"]
        code, out, _ = await agon("models", "--url", url, "--json")
        assert [(row["model"], row["served"]) for row in json.loads(out)] == [(MODEL, True), ("idle", False)]
