"""`agon chat`: a conversation in the terminal, tokens as they come."""

import io
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import click

from agon.cli.numbers import NumberRange
from agon.cli.server import get, stream
from agon.cli.stack import find_url
from agon.errors import AgonError, ModelNotServed

Messages = list[dict[str, str]]


@click.command()
@click.argument("model", required=False)
@click.option("--url", help="Where agon answers; found by itself for a stack that runs here.")
@click.option("--data", default=".agon", show_default=True, help="The data folder of the stack, to find its address.")
@click.option("--system", help="What the model is told before the conversation.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer.")
@click.option("--temperature", type=NumberRange(0, 2), help="0 for always the likeliest token.")
def chat(
    model: str | None,
    url: str | None,
    data: str,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
) -> None:
    """Talk with MODEL (default: the largest that is served).

    Each line is one turn, typed or piped in. Ctrl-C stops an answer, and leaves at the prompt; so does Ctrl-D.

    \b
    Example:
      agon chat
      echo "What is 12 plus 30?" | agon chat nano-6m
    """
    url = find_url(url, data)
    model = model or largest(get(url, "/v1/models")["data"])
    body = {"model": model, "stream": True}
    optional = {"max_completion_tokens": max_tokens, "temperature": temperature}
    body |= {name: value for name, value in optional.items() if value is not None}
    messages: Messages = [{"role": "system", "content": system}] if system else []
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text are no reason to end, and can't be sent
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  line editing and history for `input`

        click.echo(f"{model} at {url}. Ctrl-D leaves.", err=True)
    for line in _lines(interactive):
        messages.append({"role": "user", "content": line})
        try:
            messages.append({"role": "assistant", "content": _answer(url, body, messages)})
        except KeyboardInterrupt:
            if not interactive:
                raise
            click.echo(" (stopped)")
            del messages[-1]
        except AgonError as error:
            if not interactive:
                raise
            click.echo(f"{error}", err=True)
            del messages[-1]


def largest(models: list[dict[str, Any]]) -> str:
    """The model with the most parameters; those that tell none come last. Raises `ModelNotServed` if there is none."""
    if not models:
        raise ModelNotServed("no model is served at the moment; `agon models` tells more")
    return str(max(models, key=lambda model: model.get("parameters") or 0)["id"])


def printable(text: str) -> str:
    """The text without what could steer the terminal: of all control characters, newline and tab stay. What joins
    letters or emoji is no control character."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))


def _lines(interactive: bool) -> Iterator[str]:
    """What the person says, turn by turn; blank lines are passed over."""
    while True:
        try:
            line = input("> ") if interactive else sys.stdin.readline()
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            return
        if not line and not interactive:
            return
        if line.strip():
            yield line.strip()


def _answer(url: str, body: dict[str, Any], messages: Messages) -> str:
    """Show an answer while it comes, and return it."""
    said = []
    for event in stream(url, "/v1/chat/completions", {**body, "messages": messages}):
        for choice in event["choices"]:
            text = choice["delta"].get("content") or ""
            said.append(text)
            click.echo(printable(text), nl=False)
            sys.stdout.flush()
    click.echo()
    return "".join(said)
