"""Clients of Redis: RESP2 (RESP3 is slower for pub/sub messages), hiredis, a timeout and retries on every call."""

from datetime import timedelta
from typing import Any

import redis as sync_redis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry as SyncRetry

PATIENCE = timedelta(seconds=2)
_RETRIES = 3


def connect(url: str, *, patience: timedelta = PATIENCE, connections: int = 16) -> Redis:
    """A client for a whole process; opens nothing yet, so it never fails. `patience` bounds each try of each call.

    A call is tried again three times, within about a second: a Redis that restarts is not noticed. All that agon sends
    may be repeated. More than `connections` calls at once wait for their turn.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        max_connections=connections,
        timeout=patience.total_seconds(),
        socket_timeout=patience.total_seconds(),
        socket_connect_timeout=patience.total_seconds(),
        **_keepalive(url),
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.1), _RETRIES),
    )
    return Redis.from_pool(pool)


def connect_sync(url: str, *, patience: timedelta = PATIENCE) -> "sync_redis.Redis":
    """A blocking client with one connection, for a thread of its own. It tries each call twice at most: a pooled
    connection from before a restart of Redis is dead, the next one is new."""
    return sync_redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=patience.total_seconds(),
        socket_connect_timeout=patience.total_seconds(),
        **_keepalive(url),
        retry=SyncRetry(ExponentialBackoff(cap=0.1, base=0.1), 1),
    )


def _keepalive(url: str) -> dict[str, Any]:
    """Only TCP has it, and redis' connections by a socket file refuse the word."""
    return {} if url.startswith("unix:") else {"socket_keepalive": True}


async def memory_pressure(redis: Redis) -> float:
    """Share of Redis' `maxmemory` in use, 0 to about 1; 0 where it has no limit. Above 0.8 the ingress admits nothing
    new, because the lists of running requests need the rest. Raises redis' errors."""
    memory = await redis.info("memory")
    limit = int(memory.get("maxmemory", 0))
    return int(memory["used_memory"]) / limit if limit else 0.0
