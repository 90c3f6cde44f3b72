"""Asking an HTTP server on this machine whether it is ready."""

import asyncio
import json
from typing import Any


async def get(host: str, port: int, path: str, timeout: float = 3.0) -> tuple[int, bytes] | None:
    """Status and body, or None when nobody answers in time."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    return (int(parts[1]), body) if len(parts) > 1 and parts[1].isdigit() else None


async def is_ready(host: str, port: int) -> bool:
    """Whether `/readyz` is 200."""
    answer = await get(host, port, "/readyz")
    return answer is not None and answer[0] == 200


async def get_json(host: str, port: int, path: str) -> Any:
    """The JSON of a 200, else None."""
    answer = await get(host, port, path)
    try:
        return json.loads(answer[1]) if answer is not None and answer[0] == 200 else None
    except ValueError:
        return None
