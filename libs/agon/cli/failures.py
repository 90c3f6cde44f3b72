"""What a person can do something about, as one line on standard error with exit code 2."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import click

from agon.errors import AgonError

_CLIENTS = frozenset({"aiokafka", "asyncpg", "redis"})
"""Packages whose errors mean that a server said no, or nothing. Named, not imported: most commands need none."""


class Failure(click.ClickException):
    """Shown as `agon: MESSAGE`."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        click.echo(f"agon: {' '.join(self.message.split())}", err=True)


@contextmanager
def one_line() -> Iterator[None]:
    """Turn wrong use, errors on purpose, of the operating system and of servers' clients into a `Failure`.

    All others are mistakes in agon and keep their traceback.
    """
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "agon"
        raise Failure(f"{error.format_message().rstrip('.')} (`{command} --help` tells more)") from error
    except Exception as error:
        message = _message(_innermost(error))
        if message is None:
            raise
        raise Failure(message) from error


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _message(error: BaseException) -> str | None:
    if isinstance(error, AgonError):
        return error.message
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return None  # `agon ... | head`: click ends quietly
    if isinstance(error, OSError):
        if error.errno == errno.ENOSPC:
            return "no space left on the disk: free some, and try again"
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error or type(error).__name__}"
    if any(kind.__module__.partition(".")[0] in _CLIENTS for kind in type(error).__mro__):
        return f"a server did not do its part: {error or type(error).__name__}"
    return None
