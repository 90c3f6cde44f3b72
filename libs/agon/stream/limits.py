"""What API keys use, counted in Redis for all ingresses together: `limits.lua` reserves before the work, and settles
after it.

A minute is any 60 seconds, in steps of one second: never does more pass in one than the limit says. What is reserved is
a lease: a process that dies gives back what its requests held, at the end of `lease`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Any, Literal

from redis.asyncio import Redis

from agon.api_keys import ApiKey
from agon.topics import Keys

Refusal = Literal["unknown", "concurrency", "budget", "requests", "tokens"]


@dataclass(frozen=True, slots=True)
class Reserved:
    """What became of a reservation, and what is left to the key after it."""

    refused: Refusal | None
    wait: timedelta
    """Until it may be tried again, where waiting helps."""
    requests_left: int
    requests_reset: timedelta
    """Until all of them are left, if nothing more is used."""
    tokens_left: int
    tokens_reset: timedelta
    spent: int
    """Tokens in all."""
    held: int
    """Tokens that other running requests may still need."""
    lost: tuple[str, ...] = ()
    """Requests whose process died or slept beyond its lease: whoever gets this counts them, nobody else will."""


class RateLimits:
    """See the module. Holds no state. All calls may be repeated; they raise redis' errors."""

    def __init__(self, redis: Redis, keys: Keys, lease: timedelta) -> None:
        self.lease = lease
        self._lease_ms = int(lease / timedelta(milliseconds=1))
        self._keys = keys
        self._script = redis.register_script(files("agon.stream").joinpath("limits.lua").read_text(encoding="utf-8"))

    async def reserve(
        self, key: ApiKey, name: str, tokens: int, spent: int, *, sure: bool = False, requests: Sequence[str] = ()
    ) -> Reserved:
        """Take a place for what may need so many tokens, or be told why not. `spent`: what the key is known to have
        spent in all; counts where Redis has forgotten it. Of a key with a budget that is refused as `unknown` until
        somebody is `sure` that it is all. `requests` are the ids of what is asked: told as `lost` if it comes to that.
        """
        limits = key.limits
        most = (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrency, limits.budget_tokens)
        given = (-1 if limit is None else limit for limit in most)
        ids = " ".join(requests)
        reply = await self._call(key, "reserve", name, tokens, self._lease_ms, spent, *given, int(sure), ids)
        refused, wait, requests_left, requests_reset, tokens_left, tokens_reset, total, held, lost = reply
        return Reserved(
            refused=refused.decode() or None,
            wait=timedelta(milliseconds=wait),
            requests_left=requests_left,
            requests_reset=timedelta(milliseconds=requests_reset),
            tokens_left=tokens_left,
            tokens_reset=timedelta(milliseconds=tokens_reset),
            spent=total,
            held=held,
            lost=tuple(one for names in lost for one in names.decode().split()),
        )

    async def renew(self, key: ApiKey, running: Mapping[str, int]) -> None:
        """These names still run, each with the tokens that were reserved for it."""
        pairs = (part for pair in running.items() for part in pair)
        await self._call(key, "renew", self._lease_ms, *pairs)

    async def settle(self, key: ApiKey, name: str, tokens: int) -> int:
        """What was reserved has ended and needed so many tokens. Returns what the key has spent in all."""
        spent: int = await self._call(key, "settle", name, tokens)
        return spent

    async def _call(self, key: ApiKey, *arguments: str | int) -> Any:
        return await self._script(keys=self._keys.limits(key.tenant, key.key_id), args=arguments)
