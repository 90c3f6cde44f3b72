"""Voting tickets: what an ingress gives to the one who began a battle, and what every vote must show.

A ticket is `v1.<claims>.<signature>`: the claims are base64url of canonical JSON, the signature is HMAC-SHA-256 with a
key derived from the secret that all processes of the house share. It names the voter by a keyed hash of the session,
so that neither a ticket nor a vote carries the session itself.
"""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agon.arena.commitment import canonical
from agon.errors import Forbidden, Gone, Unavailable

LIFETIME = timedelta(hours=24)
_VERSION = "v1"


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to vote once on one turn of one battle."""

    tenant: str
    battle_id: str
    turn: int
    voter: str
    expires_at: datetime


def voter_of(secret: str, session: str) -> str:
    """The voter that a session is: the same for every battle of the session, and no way back to it."""
    return "voter-" + hmac.new(_key(secret, "voter"), session.encode(), hashlib.sha256).hexdigest()[:32]


def issue(secret: str, *, tenant: str, battle_id: str, turn: int, voter: str, at: datetime) -> str:
    """A ticket that is good for `LIFETIME` from `at`."""
    expires = int((at + LIFETIME).timestamp())
    claims = canonical({"tenant": tenant, "battle": battle_id, "turn": turn, "voter": voter, "expires": expires})
    return f"{_VERSION}.{_to_text(claims)}.{_to_text(_sign(secret, claims))}"


def read(secret: str, ticket: str, at: datetime) -> Ticket:
    """The claims of a ticket that this house signed and that has not expired at `at`.

    Raises `Forbidden` (code `bad_ticket`) for one that it did not sign, `Gone` (code `ticket_expired`) for an old one.
    """
    version, _, rest = ticket.partition(".")
    claims_text, _, signature_text = rest.partition(".")
    claims, signature = _from_text(claims_text), _from_text(signature_text)
    if version != _VERSION or not hmac.compare_digest(signature, _sign(secret, claims)):
        raise Forbidden("This ticket was not issued here.", param="ticket", code="bad_ticket")
    fields = json.loads(claims)
    expires_at = datetime.fromtimestamp(fields["expires"], UTC)
    if at >= expires_at:
        raise Gone("This ticket has expired: start a new battle.", param="ticket", code="ticket_expired")
    return Ticket(fields["tenant"], fields["battle"], fields["turn"], fields["voter"], expires_at)


def verify(
    secret: str, ticket: str, *, tenant: str, battle_id: str, turn: int, voter: str | None, at: datetime
) -> Ticket:
    """The ticket, if it is for this turn of this battle and, unless `voter` is None, for this voter.

    Raises as `read` does, and `Forbidden` with code `other_battle`, `other_turn` or `other_session`.
    """
    found = read(secret, ticket, at)
    if (found.tenant, found.battle_id) != (tenant, battle_id):
        raise Forbidden("This ticket belongs to another battle.", param="ticket", code="other_battle")
    if found.turn != turn:
        raise Forbidden(
            f"This ticket is for turn {found.turn}, the vote is about turn {turn}.", param="ticket", code="other_turn"
        )
    if voter is not None and found.voter != voter:
        raise Forbidden("This ticket belongs to another session.", param="ticket", code="other_session")
    return found


def _key(secret: str, purpose: str) -> bytes:
    if not secret:
        raise Unavailable("Battles need a secret to sign tickets with: set AGON_SESSION_SECRET and restart.")
    return hmac.new(secret.encode(), f"agon arena {purpose}".encode(), hashlib.sha256).digest()


def _sign(secret: str, claims: bytes) -> bytes:
    return hmac.new(_key(secret, "ticket"), claims, hashlib.sha256).digest()


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    """The bytes, or none at all for text that is no base64url: a signature over nothing is never right."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
