"""API keys: what a client sends, what the server keeps of it, and what it may do. Pure.

A key is `sk-agon-ID_SECRET`: sixteen hex digits that name it, and 256 random bits. The server keeps a keyed hash of the
whole (HMAC-SHA256, FIPS 198-1): a copy of the database opens nothing, and without the server's secret no guess can be
checked against it.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from agon.errors import Forbidden

_TEXT = re.compile(r"sk-agon-([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_ENDPOINT = re.compile(r"/(?:v1/)?([a-z_]+)")

ENDPOINTS = frozenset(
    {
        "arena", "batches", "chat", "completions", "conversations", "embeddings", "files", "fine_tuning", "models",
        "moderations", "responses", "uploads",
    }
)  # fmt: skip
"""What a key can be for, as `endpoint_of` names it."""

State = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use; None is without limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Of prompts and answers together."""
    concurrency: int | None = None
    """Requests under way at once."""
    budget_tokens: int | None = None
    """Tokens in all, of prompts and answers together, for as long as the key lives."""

    @property
    def any(self) -> bool:
        return self != _NO_LIMITS


_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key as the server knows it."""

    key_id: str
    tenant: str
    name: str
    hash: bytes = field(repr=False)
    created_at: datetime
    endpoints: frozenset[str] | None = None
    """Names as `endpoint_of` gives them; None for all."""
    models: frozenset[str] | None = None
    """None for all."""
    limits: Limits = _NO_LIMITS
    spent_tokens: int = 0
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    previous_hash: bytes | None = field(default=None, repr=False)
    """Of the secret before the last rotation, which is good until `previous_until`."""
    previous_until: datetime | None = None

    def state(self, at: datetime) -> State:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= at else "active"

    def opens(self, given: bytes, at: datetime) -> bool:
        """Whether the hash of what a client sent is this key's; takes as long for yes as for no."""
        current = hmac.compare_digest(self.hash, given)
        rotated = hmac.compare_digest(self.previous_hash or bytes(len(given)), given)
        in_time = self.previous_until is not None and at < self.previous_until
        return (current or (rotated and in_time)) and self.state(at) == "active"

    def check_endpoint(self, path: str) -> None:
        """Raises `Forbidden` where this key is not for this path."""
        endpoint = endpoint_of(path)
        if self.endpoints is not None and endpoint not in self.endpoints:
            told = f"This key is not for `{endpoint}`; it is for {_listed(self.endpoints)}."
            raise Forbidden(told, code="missing_scope")

    def may_ask(self, model: str) -> bool:
        return self.models is None or model in self.models

    def check_model(self, model: str) -> None:
        """Raises `Forbidden`, as OpenAI does for a project without the model."""
        if not self.may_ask(model):
            told = f"This key has no access to the model `{model}`. GET /v1/models lists those that it has."
            raise Forbidden(told, param="model", code="model_not_found")


def mint() -> tuple[str, str]:
    """The id and the text of a new key, made of the system's randomness."""
    key_id = secrets.token_hex(8)
    return key_id, remint(key_id)


def remint(key_id: str) -> str:
    """Another text of the same key."""
    return f"sk-agon-{key_id}_{secrets.token_urlsafe(32)}"


def id_of(text: str) -> str | None:
    """The id in what a client sent; None where that has not the form of a key."""
    found = _TEXT.fullmatch(text)
    return found[1] if found else None


def keyed_hash(server_secret: str, text: str) -> bytes:
    """What the server keeps of a key: 32 bytes."""
    return hmac.digest(server_secret.encode(), text.encode(), hashlib.sha256)


def endpoint_of(path: str) -> str:
    """What a scope calls the place of a path.

    >>> endpoint_of("/v1/chat/completions"), endpoint_of("/v1/models/a/b"), endpoint_of("/arena/battles")
    ('chat', 'models', 'arena')
    """
    found = _ENDPOINT.match(path)
    return found[1] if found else ""


def _listed(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"
