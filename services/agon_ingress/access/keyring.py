"""The keys as this process knows them: read again within a second of any change, and asked without any I/O."""

import hmac
import logging
import time
from collections.abc import Iterable
from datetime import timedelta

from agon.api_keys import ApiKey, id_of, keyed_hash
from agon.errors import Unauthorized, Unavailable
from agon.messages import now
from agon.store import api_keys
from agon.store.pool import Pool
from agon_ingress.access.callers import ANYBODY, Caller

log = logging.getLogger(__name__)

_NOBODY = bytes(32)
"""Compared where there is no such key, so that this takes as long."""


class Keyring:
    """`refresh` is called every second. What was read is good for `patience`: with Postgres away for longer, nobody
    knows whether a key was revoked, and none is taken.

    Without a key in the database everybody may ask if `open_without`, else nobody. A key that is revoked or expired is
    still a key: ending the last one opens nothing.
    """

    def __init__(self, pool: Pool, server_secret: str, open_without: bool, patience: timedelta) -> None:
        self._pool = pool
        self._server_secret = server_secret
        self._open_without = open_without
        self._patience = patience.total_seconds()
        self._keys: dict[str, ApiKey] | None = None
        self._revision: int | None = None
        self._read_at = 0.0
        self._used: set[str] = set()
        self._spent: dict[str, int] = {}

    async def refresh(self) -> None:
        """Learn what has changed, and note which keys were used. Raises asyncpg's errors."""
        asked_at = time.monotonic()
        revision = await api_keys.revision(self._pool)
        if revision != self._revision:
            self.learn(await api_keys.read(self._pool))
            self._revision = revision
        self._read_at = asked_at
        if self._used:
            await self._note_use()

    def learn(self, keys: Iterable[ApiKey]) -> None:
        """These are all the keys that there are."""
        before, self._keys = self._keys, {key.key_id: key for key in keys}
        self._read_at = time.monotonic()
        self._spent = {key_id: max(key.spent_tokens, self._spent.get(key_id, 0)) for key_id, key in self._keys.items()}
        if bool(before) != bool(self._keys) or before is None:
            self._announce(len(self._keys))

    def caller(self, authorization: bytes | None, path: str) -> Caller:
        """Who asks, by the header that came with it. Raises `Unauthorized`, `Forbidden` where the key is not for this
        path, and `Unavailable` while nobody knows which keys are good."""
        if self._keys is None:
            raise Unavailable("Who may ask is not known yet: Postgres is away. Try again shortly.")
        if not self._keys:
            if self._open_without:
                return ANYBODY
            raise Unauthorized("This server has no API keys yet, and is closed without: `agon keys create` makes one.")
        if time.monotonic() - self._read_at > self._patience:
            raise Unavailable("API keys can't be checked: Postgres is away. Try again shortly.")
        key = self._checked(_bearer(authorization))
        key.check_endpoint(path)
        self._used.add(key.key_id)
        return Caller(key.tenant, key)

    def owner(self, tenant: str, key_id: str | None) -> Caller:
        """Who asked for something that goes on without its client, such as a batch. Raises `Unauthorized` once the key
        is revoked or has expired, and `Unavailable` while nobody knows which keys are good."""
        if self._keys is None:
            raise Unavailable("Who may ask is not known yet: Postgres is away. Try again shortly.")
        if key_id is None:
            return Caller(tenant)
        key = self._keys.get(key_id)
        if key is None or key.state(now()) != "active":
            raise Unauthorized("The API key that asked for this is revoked or has expired.")
        return Caller(tenant, key)

    def spent(self, key: ApiKey) -> int:
        """Tokens that the key has spent as far as is known here; never too many."""
        return self._spent.get(key.key_id, key.spent_tokens)

    async def read_spent(self, key: ApiKey) -> int:
        """The same, as all processes have written it down by now. Raises asyncpg's errors."""
        self.note_spent(key, await api_keys.spent(self._pool, key.key_id))
        return self.spent(key)

    def note_spent(self, key: ApiKey, tokens: int) -> None:
        """So many are spent in all."""
        self._used.add(key.key_id)
        self._spent[key.key_id] = max(tokens, self.spent(key))

    def _checked(self, text: str) -> ApiKey:
        assert self._keys is not None
        key = self._keys.get(id_of(text) or "")
        given = keyed_hash(self._server_secret, text)
        good = key.opens(given, now()) if key is not None else hmac.compare_digest(given, _NOBODY)
        if key is None or not good or not self._server_secret:
            raise Unauthorized("Incorrect API key provided: it is unknown, expired or revoked.")
        return key

    async def _note_use(self) -> None:
        used, self._used = self._used, set()
        try:
            known = await api_keys.note_use(self._pool, {key: (now(), self._spent.get(key, 0)) for key in used})
        except BaseException:
            self._used |= used
            raise
        for key, spent in known.items():
            self._spent[key] = max(spent, self._spent.get(key, 0))

    def _announce(self, keys: int) -> None:
        if keys and not self._server_secret:
            log.error("there are %d API keys, but AGON_KEY_SECRET is not set: closed to all", keys)
        elif keys:
            log.info("%d API keys: closed to all who have none", keys)
        elif self._open_without:
            log.warning("no API key exists: open to everybody who reaches this address (`agon keys create` closes it)")
        else:
            log.warning("no API key exists, and this is not loopback: closed to all until `agon keys create` makes one")


def _bearer(authorization: bytes | None) -> str:
    """What stands behind `Bearer`. Raises `Unauthorized` where nothing does."""
    scheme, _, text = (authorization or b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Unauthorized("You didn't provide an API key: send it as `Authorization: Bearer YOUR_KEY`.")
    return text.strip()
