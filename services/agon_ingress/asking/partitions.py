"""Which partition of its model's topic a request goes to. Pure: the caller brings the random numbers."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """A live worker, as the choice sees it: the partitions of the topic that it reads, and its load from 0 up."""

    partitions: tuple[int, ...]
    load: float


def choose(partitions: Sequence[int], holders: Sequence[Holder], conversation: str | None, draw: random.Random) -> int:
    """A conversation always goes to the same partition, whose worker has its pages cached; anything else to the less
    loaded of two workers drawn at random; and where no worker has told its partitions yet, to any.

    `partitions` is not empty. Partitions that a holder names but the topic lacks are left out.
    """
    if conversation is not None:
        digest = hashlib.blake2b(conversation.encode(), digest_size=8).digest()
        return partitions[int.from_bytes(digest) % len(partitions)]
    known = frozenset(partitions)
    able = [(holder.load, held) for holder in holders if (held := [p for p in holder.partitions if p in known])]
    if not able:
        return draw.choice(partitions)
    drawn = draw.sample(able, min(2, len(able)))
    return draw.choice(min(drawn, key=lambda one: one[0])[1])
