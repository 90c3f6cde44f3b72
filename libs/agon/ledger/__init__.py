"""The log that anyone can check: canonical entries, RFC 6962 tree hashes, inclusion proofs. Pure functions on bytes."""

from agon.ledger.canonical import canonical
from agon.ledger.entries import vote_entry
from agon.ledger.tree import Frontier, inclusion_proof, leaf_hash, root, verify_inclusion

__all__ = ["Frontier", "canonical", "inclusion_proof", "leaf_hash", "root", "verify_inclusion", "vote_entry"]
