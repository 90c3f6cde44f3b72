"""Databases that live as long as one test."""

import time
import uuid
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from agon.store.migrations import migrate
from support.waiting import PATIENCE


def named(url: str, database: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def create(admin_url: str, template: str | None = None) -> str:
    """Make an empty database, or a copy of `template` (file by file, the quickest way); returns its URL."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(admin_url, timeout=PATIENCE)
    try:
        copy = f' TEMPLATE "{template}" STRATEGY FILE_COPY' if template else ""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                await connection.execute(f'CREATE DATABASE "{name}"{copy}')
                break
            except asyncpg.ObjectInUseError:  # who has made the template is not quite gone after 5 s
                if time.monotonic() > until:
                    raise
    finally:
        await connection.close()
    return named(admin_url, name)


async def create_migrated(admin_url: str) -> str:
    """Make a database with every migration applied; returns its name, to be a template."""
    url = await create(admin_url)
    await migrate(url)
    return urlsplit(url).path.removeprefix("/")


async def drop(admin_url: str, name: str) -> None:
    """Remove it even while somebody is connected."""
    connection = await asyncpg.connect(admin_url, timeout=PATIENCE)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()
