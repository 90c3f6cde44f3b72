"""`agon keys`: who may ask. A key's text is shown once, when it is made; the server keeps a hash."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agon.cli.columns import in_columns
from agon.cli.database import with_pool
from agon.cli.stack import find_backend_url, of_stack

if TYPE_CHECKING:
    from datetime import datetime

    from agon.api_keys import ApiKey, Limits
    from agon.store.pool import Connection

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_NONE = -1
COLUMNS = ("KEY", "NAME", "TENANT", "STATE", "MAY", "LIMITS", "SPENT", "LAST USED", "EXPIRES")


class Duration(click.ParamType[timedelta]):
    """`30d`, `12h`, `15m`, `10s`; 0 for at once."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"(\d{1,6})([smhd])|0", str(value))
        if found is None:
            self.fail(f"`{value}` is no duration: write it like 30d, 12h, 15m or 10s", param, ctx)
        return timedelta() if found[0] == "0" else timedelta(**{_UNITS[found[2]]: int(found[1])})


class Amount(click.ParamType[int]):
    """A positive whole number, or `none` for no limit."""

    name = "number|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if str(value) == "none":
            return _NONE
        if re.fullmatch(r"[1-9]\d{0,8}", str(value)) is None:
            self.fail(f"`{value}` is neither a whole number from 1 to 999999999 nor `none`", param, ctx)
        return int(value)


def _limits(command: F) -> F:
    for name, about in (
        ("budget-tokens", "Tokens in all, prompts and answers."),
        ("concurrency", "Requests under way at once."),
        ("tokens-per-minute", "Tokens of prompts and answers in any minute."),
        ("requests-per-minute", "Requests in any minute."),
    ):
        command = click.option(f"--{name}", type=Amount(), help=about)(command)
    return command


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke API keys: of the stack that runs here, or of the database at AGON_POSTGRES_URL.

    As long as there is no key, the API is open to everybody on this machine. From the first one on it is closed to all
    without one, also when that one is revoked.

    \b
    Example:
      agon keys create ci --requests-per-minute 60 --model nano-6m
      agon keys list
      agon keys revoke 0123456789abcdef
    """


@keys.command()
@click.argument("name")
@click.option("--tenant", default="default", show_default=True, help="Whose key it is: tenants see only their own.")
@click.option("--endpoint", "endpoints", multiple=True, help="chat, embeddings, arena, ...; may be repeated. [all]")
@click.option("--model", "models", multiple=True, help="May be repeated. [all]")
@click.option("--expires-in", type=Duration(), help="30d, 12h, ... [never]")
@_limits
@of_stack
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def create(
    name: str,
    tenant: str,
    endpoints: tuple[str, ...],
    models: tuple[str, ...],
    expires_in: timedelta | None,
    data: str,
    as_json: bool,
    **limits: int | None,
) -> None:
    """Make a key and print it: standard output has the key and nothing else. It can't be shown again.

    \b
    Example:
      export AGON_API_KEY=$(agon keys create laptop)
      agon keys create ci --tenant team-a --endpoint chat --model nano-6m --budget-tokens 100000 --expires-in 30d
    """
    from agon.api_keys import ENDPOINTS, ApiKey, keyed_hash, mint
    from agon.errors import SetupError
    from agon.messages import now
    from agon.messages.base import ID_REGEX
    from agon.store import api_keys

    if not (name.strip() and name.isprintable() and len(name) <= 100):
        raise SetupError("a key's name must be 1 to 100 characters that can be printed, such as laptop")
    if not ID_REGEX.fullmatch(tenant):
        raise SetupError(f"the tenant `{tenant[:80]}` must be 1 to 64 of A-Z a-z 0-9 _ -")
    wrong = [endpoint for endpoint in endpoints if endpoint not in ENDPOINTS]
    if wrong:
        raise SetupError(f"`{wrong[0][:80]}` is no endpoint; these are: {', '.join(sorted(ENDPOINTS))}")
    secret = _secret(data)
    key_id, text = mint()
    made = ApiKey(
        key_id=key_id,
        tenant=tenant,
        name=name,
        hash=keyed_hash(secret, text),
        created_at=now(),
        endpoints=frozenset(endpoints) or None,
        models=frozenset(models) or None,
        limits=_changed(None, limits),
        expires_at=None if expires_in is None else now() + expires_in,
    )

    async def add(pool: "Connection") -> None:
        await api_keys.add(pool, made)

    with_pool("agon keys", data, add)
    _tell(made, text, as_json)


@keys.command("list")
@of_stack
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(data: str, as_json: bool) -> None:
    """Every key with its state, scopes, limits, what it has spent, and when it was last used.

    \b
    Example:
      agon keys list
    """
    from agon.messages import now
    from agon.store import api_keys

    found = with_pool("agon keys", data, api_keys.read)
    at = now()
    if as_json:
        click.echo(json.dumps([_said(key, at) for key in found], indent=2))
    elif found:
        click.echo(in_columns(COLUMNS, (_row(key, at) for key in found)))
    else:
        click.echo("no keys: the API is open to everybody on this machine; `agon keys create NAME` closes it")


@keys.command()
@click.argument("key_id")
@of_stack
def revoke(key_id: str, data: str) -> None:
    """End a key for good: within 5 seconds no ingress takes it.

    \b
    Example:
      agon keys revoke 0123456789abcdef
    """
    from agon.store import api_keys

    async def end(pool: "Connection") -> "ApiKey":
        return await api_keys.revoke(pool, key_id)

    key = with_pool("agon keys", data, end)
    click.echo(f"{key.key_id} ({key.name}) is revoked")


@keys.command()
@click.argument("key_id")
@click.option(
    "--overlap", type=Duration(), default="24h", show_default=True, help="How long the old text stays good; 0: not."
)
@of_stack
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def rotate(key_id: str, overlap: timedelta, data: str, as_json: bool) -> None:
    """Print a new text for a key; id, scopes, limits and what is spent stay. The old text is good for a while yet.

    \b
    Example:
      agon keys rotate 0123456789abcdef --overlap 1h
    """
    from agon.api_keys import keyed_hash, remint
    from agon.messages import now
    from agon.store import api_keys

    secret = _secret(data)
    text = remint(key_id)

    async def turn(pool: "Connection") -> "ApiKey":
        return await api_keys.rotate(pool, key_id, keyed_hash(secret, text), now() + overlap)

    _tell(with_pool("agon keys", data, turn), text, as_json)


@keys.command()
@click.argument("key_id")
@_limits
@of_stack
def limit(key_id: str, data: str, **limits: int | None) -> None:
    """Change limits of a key; those that are not named stay, and `none` lifts one.

    \b
    Example:
      agon keys limit 0123456789abcdef --budget-tokens 500000 --concurrency none
    """
    from agon.errors import NotFound
    from agon.store import api_keys

    async def change(pool: "Connection") -> "ApiKey":
        for key in await api_keys.read(pool):
            if key.key_id == key_id:
                return await api_keys.set_limits(pool, key_id, _changed(key.limits, limits))
        raise NotFound(f"there is no key {key_id}: `agon keys list` shows them")

    key = with_pool("agon keys", data, change)
    click.echo(f"{key.key_id} ({key.name}): {_shown(key.limits) or 'no limits'}")


def _secret(data: str) -> str:
    """What keys are hashed under: AGON_KEY_SECRET, else that of the stack on this folder. Raises `SetupError`."""
    from pathlib import Path

    from agon.errors import SetupError
    from agon.local.data import DataFolder
    from agon.local.state import running
    from agon.settings import Settings

    if secret := Settings.load().key_secret.get_secret_value():
        return secret
    find_backend_url("postgres", data)  # where nothing runs, that is what is wrong
    if running(folder := DataFolder(Path(data))) is None:
        raise SetupError("AGON_KEY_SECRET is not set: give the same to this command and to every ingress")
    return folder.secrets().keys


def _changed(limits: "Limits | None", given: dict[str, int | None]) -> "Limits":
    from dataclasses import replace

    from agon.api_keys import Limits

    named = {name: None if value == _NONE else value for name, value in given.items() if value is not None}
    return replace(limits or Limits(), **named)


def _tell(key: "ApiKey", text: str, as_json: bool) -> None:
    from agon.messages import now

    if as_json:
        click.echo(json.dumps({**_said(key, now()), "key": text}, indent=2))
        return
    click.echo(text)
    click.echo(f"key {key.key_id} ({key.name}, tenant {key.tenant}); this is the only time that it is shown", err=True)


def _said(key: "ApiKey", at: "datetime") -> dict[str, Any]:
    from dataclasses import asdict

    from agon.messages import rfc3339

    times = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        "key_id": key.key_id,
        "name": key.name,
        "tenant": key.tenant,
        "state": key.state(at),
        "endpoints": None if key.endpoints is None else sorted(key.endpoints),
        "models": None if key.models is None else sorted(key.models),
        **asdict(key.limits),
        "spent_tokens": key.spent_tokens,
        **{name: None if time is None else rfc3339(time) for name, time in times.items()},
    }


def _row(key: "ApiKey", at: "datetime") -> tuple[str, ...]:
    scopes = [*sorted(key.endpoints or ()), *sorted(key.models or ())]
    return (
        key.key_id,
        key.name,
        key.tenant,
        key.state(at),
        ",".join(scopes) or "all",
        _shown(key.limits) or "none",
        f"{key.spent_tokens:,}",
        _day(key.last_used_at) or "never",
        _day(key.expires_at) or "never",
    )


def _shown(limits: "Limits") -> str:
    parts = (
        (limits.requests_per_minute, "requests/min"),
        (limits.tokens_per_minute, "tokens/min"),
        (limits.concurrency, "at once"),
        (limits.budget_tokens, "tokens in all"),
    )
    return ", ".join(f"{value:,} {unit}" for value, unit in parts if value is not None)


def _day(time: "datetime | None") -> str | None:
    return None if time is None else f"{time:%Y-%m-%d %H:%M}Z"
