"""The identity of a vote. It follows from what the vote is about, so that sending it again is sending the same one."""

import hashlib


def vote_id(tenant: str, battle_id: str, turn: int, voter: str) -> str:
    """One id per (battle, turn, voter): 128 bits as hex behind `vote-`."""
    # The parts can't run into each other: NUL is in none of them.
    about = "\0".join((tenant, battle_id, str(turn), voter))
    return "vote-" + hashlib.sha256(about.encode()).hexdigest()[:32]
