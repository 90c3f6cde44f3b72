"""`agon keys`: made, listed, rotated, limited, revoked; the text is shown once and stored nowhere."""

import json
import subprocess
from collections.abc import Callable

import asyncpg
import pytest

from agon.api_keys import id_of, keyed_hash
from support import forked

pytestmark = pytest.mark.servers

Agon = Callable[..., "subprocess.CompletedProcess[str]"]
SECRET = "of-this-server"


@pytest.fixture
def agon(database_url: str) -> Agon:
    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        told = {"AGON_POSTGRES_URL": database_url, "AGON_KEY_SECRET": SECRET, **environment}
        return forked.agon("keys", *arguments, environment=told)

    return run


def listed(agon: Agon) -> list[dict[str, object]]:
    told: list[dict[str, object]] = json.loads(agon("list", "--json").stdout)
    return told


def test_where_there_is_no_key_it_is_said_what_that_means(agon: Agon) -> None:
    assert "open to everybody on this machine; `agon keys create" in agon("list").stdout
    assert listed(agon) == []


async def test_a_key_is_shown_once_and_kept_as_a_hash(agon: Agon, database_url: str) -> None:
    made = agon(
        *("create", "ci", "--tenant", "team-a", "--endpoint", "chat", "--model", "a/b", "--expires-in", "30d"),
        *("--requests-per-minute", "60", "--tokens-per-minute", "1000", "--concurrency", "4", "--budget-tokens", "9"),
    )
    text = made.stdout.strip()
    key_id = id_of(text)
    assert key_id is not None
    assert made.stdout == f"{text}\n"
    assert "only time" in made.stderr
    (key,) = listed(agon)
    assert key | {"created_at": "", "expires_at": ""} == {
        "key_id": key_id, "name": "ci", "tenant": "team-a", "state": "active", "endpoints": ["chat"],
        "models": ["a/b"], "requests_per_minute": 60, "tokens_per_minute": 1000, "concurrency": 4, "budget_tokens": 9,
        "spent_tokens": 0, "created_at": "", "expires_at": "", "revoked_at": None, "last_used_at": None,
    }  # fmt: skip
    connection = await asyncpg.connect(database_url)
    try:
        row = await connection.fetchrow("SELECT * FROM agon.api_keys")
        whole = await connection.fetchval("SELECT k::text FROM agon.api_keys k")
    finally:
        await connection.close()
    assert row["hash"] == keyed_hash(SECRET, text)
    assert text.partition("_")[2] not in whole
    table = agon("list").stdout
    assert "60 requests/min, 1,000 tokens/min, 4 at once, 9 tokens in all" in table
    assert text.partition("_")[2] not in table


def test_a_rotated_key_has_another_text_and_stays_the_same_key(agon: Agon) -> None:
    first = agon("create", "laptop").stdout.strip()
    key_id = str(id_of(first))
    turned = json.loads(agon("rotate", key_id, "--overlap", "1h", "--json").stdout)
    assert turned["key_id"] == key_id == id_of(turned["key"])
    assert turned["key"] != first
    assert len(listed(agon)) == 1


def test_limits_change_one_by_one_and_none_lifts_one(agon: Agon) -> None:
    key_id = str(id_of(agon("create", "x", "--concurrency", "4").stdout.strip()))
    assert agon("limit", key_id, "--budget-tokens", "1000").stdout == f"{key_id} (x): 4 at once, 1,000 tokens in all\n"
    assert agon("limit", key_id, "--concurrency", "none").stdout == f"{key_id} (x): 1,000 tokens in all\n"


def test_a_revoked_key_stays_revoked_and_can_not_be_rotated(agon: Agon) -> None:
    key_id = str(id_of(agon("create", "x").stdout.strip()))
    assert agon("revoke", key_id).stdout == f"{key_id} (x) is revoked\n"
    (before,) = listed(agon)
    assert before["state"] == "revoked"
    assert agon("revoke", key_id).returncode == 0
    assert listed(agon) == [before]
    assert agon("rotate", key_id).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("revoke", "0123456789abcdef"), "there is no key"),
        (("limit", "0123456789abcdef"), "there is no key"),
        (("create", ""), "name"),
        (("create", "x", "--tenant", "a b"), "tenant"),
        (("create", "x", "--endpoint", "/v1/chat"), "no endpoint"),
        (("create", "x", "--endpoint", "completion"), "these are: arena, batches, chat, completions"),
        (("create", "x", "--expires-in", "soon"), "no duration"),
        (("create", "x", "--concurrency", "0"), "neither a whole number"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(agon: Agon, arguments: tuple[str, ...], told: str) -> None:
    refused = agon(*arguments)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert told in refused.stderr.splitlines()[-1]


def test_without_the_server_s_secret_no_key_is_made(agon: Agon, tmp_path: object) -> None:
    refused = agon("create", "x", "--data", str(tmp_path), AGON_KEY_SECRET="")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "AGON_KEY_SECRET" in refused.stderr
