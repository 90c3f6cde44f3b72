"""The door of the command line: late imports, help with examples, one line for what goes wrong."""

import errno
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from agon.cli import COMMANDS, LazyGroup, main
from agon.errors import ModelNotFound, SetupError


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from agon.cli import main\n"
        "told = CliRunner().invoke(main, ['--help']).output\n"
        "heavy = {'numpy', 'pydantic', 'rich', 'asyncio', 'aiokafka', 'torch', 'agon.local', 'agon.cli.up'}\n"
        "print(sorted(heavy & set(sys.modules))); print(told)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    imported, _, output = told.partition("\n")
    assert imported == "[]"
    for name, (_, what) in COMMANDS.items():
        assert f"  {name}" in output
        assert what.split()[0] in output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Example:" in result.output
    assert "agon" in result.output.split("Example:")[1]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("fly", "agon: No such command 'fly' (`agon --help` tells more)"),
        ("--fly", "agon: No such option '--fly' (`agon --help` tells more)"),
        ("keys fly", "agon: No such command 'fly' (`agon keys --help` tells more)"),
        (
            "up --port 70000",
            "agon: Invalid value for '--port': 70000 is not in the range 0<=x<=65535 (`agon up --help` tells more)",
        ),
        (
            "simulate --votes 1 --noise nan",
            "agon: Invalid value for '--noise': nan is no number (`agon simulate --help` tells more)",
        ),
        ("status extra", "agon: Got unexpected extra argument (extra) (`agon status --help` tells more)"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(given: str, line: str) -> None:
    result = CliRunner().invoke(main, given.split(), prog_name="agon")
    assert (result.exit_code, result.output) == (2, f"{line}\n")


def test_alone_it_shows_what_there_is() -> None:
    assert "Commands:" in CliRunner().invoke(main, []).output


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SetupError("no Java here"), "agon: no Java here\n"),
        (ModelNotFound("no model\n  `x`"), "agon: no model `x`\n"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "agon: Connection refused\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "agon: /x: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left"), "agon: no space left on the disk: free some, and try again\n"),
        (ExceptionGroup("g", [ExceptionGroup("h", [SetupError("deep")])]), "agon: deep\n"),
    ],
)
def test_what_a_person_can_help_is_one_line_and_exit_code_2(error: Exception, line: str) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert (result.exit_code, result.output) == (2, line)


def test_a_server_s_client_that_gives_up_is_one_line() -> None:
    from redis.exceptions import ConnectionError as RedisGone

    result = CliRunner().invoke(failing(RedisGone("Error 111")), ["fail"])
    assert (result.exit_code, result.output) == (2, "agon: a server did not do its part: Error 111\n")


def test_a_mistake_of_ours_is_not_hidden() -> None:
    result = CliRunner().invoke(failing(KeyError("x")), ["fail"])
    assert isinstance(result.exception, KeyError)


def test_a_closed_pipe_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    told = subprocess.run([sys.executable, "-m", "agon.cli", "--help"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert "Traceback" not in told.stderr


def failing(error: Exception) -> click.Group:
    """The same group with one command that raises."""

    class Failing(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return fail

    @click.command()
    def fail() -> None:
        raise error

    return Failing("agon")
