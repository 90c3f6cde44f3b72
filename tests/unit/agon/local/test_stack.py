"""What `agon up` says while it starts."""

import asyncio
import io
from pathlib import Path

import pytest

from agon.local import stack as room
from agon.local.data import DataFolder
from agon.local.stack import Stack, StackOptions
from agon.local.terminal import Terminal
from support.waiting import eventually


async def test_a_start_that_takes_long_says_who_is_awaited_and_what_it_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_QUIET", 0.0)
    data, out = DataFolder(tmp_path), io.StringIO()
    data.logs.mkdir()
    data.log("kafka").write_text("2026-11-28 09:20:24 INFO recovering\n")
    stack = Stack(data, StackOptions(), Terminal(out))
    late, there = (stack._supervised(name, None, None) for name in ("kafka", "redis"))  # type: ignore[arg-type]
    there.once_ready.set()
    stack._servers += [room._Part(part, asyncio.create_task(asyncio.sleep(0))) for part in (there, late)]
    async with stack._signs_of_life():
        await eventually(lambda: "waiting for    kafka  recovering\n" in out.getvalue())
    assert "redis" not in out.getvalue()
