"""What binds a battle before any token was generated: hashes over canonical JSON, and the commitment to a pair.

The commitment is on Kafka from the start; pair and nonce follow with the reveal. Whoever has both can check that the
pair was not exchanged afterwards, and whoever has only the commitment learns nothing, because the nonce has 256 bits.
"""

import hashlib
import hmac
import json
import secrets
from typing import Any


def canonical(value: Any) -> bytes:
    """The one JSON form of a value: keys sorted, no spaces, UTF-8. Strings, integers, booleans, lists and objects only:
    floats have no form that all languages agree on."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def new_nonce() -> str:
    """256 random bits as hex."""
    return secrets.token_hex(32)


def commit(battle_id: str, model_a: str, model_b: str, digest_a: str, digest_b: str, nonce: str) -> str:
    """The commitment to who plays on which side, with which weights."""
    return digest({"battle_id": battle_id, "a": [model_a, digest_a], "b": [model_b, digest_b], "nonce": nonce})


def opens(
    commitment: str, battle_id: str, model_a: str, model_b: str, digest_a: str, digest_b: str, nonce: str
) -> bool:
    """Whether this pair and nonce are what was committed to."""
    return hmac.compare_digest(commitment, commit(battle_id, model_a, model_b, digest_a, digest_b, nonce))
