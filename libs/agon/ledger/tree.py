"""The Merkle tree of RFC 6962, section 2.1: SHA-256, leaves prefixed with 0, nodes with 1, split at the largest power
of two below the size."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agon.errors import InvalidRequest


def leaf_hash(entry: bytes) -> bytes:
    """32 bytes: what an entry is in the tree."""
    return hashlib.sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree head over leaf hashes, 32 bytes; of none it is SHA-256 of nothing.

    Level by level: an odd node at the end of a level moves up as it is, which is the same tree as the recursive
    definition's.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        above = [_node(level[k], level[k + 1]) for k in range(0, len(level) - 1, 2)]
        level = above + level[len(level) // 2 * 2 :]
    return level[0]


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree as far as it has grown: its size and the heads of its complete subtrees, the largest first.

    All that later leaves and the tree's own head need, in 32 bytes for each power of two in the size.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def extended(self, leaves: Iterable[bytes]) -> "Frontier":
        """With further leaf hashes at its end: a subtree that has got a neighbour of its size becomes one with it."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            node, level = leaf, size
            while level & 1:
                node = _node(peaks.pop(), node)
                level >>= 1
            peaks.append(node)
            size += 1
        return Frontier(size, tuple(peaks))

    @property
    def head(self) -> bytes:
        """What `root` says of all leaves."""
        if not self.peaks:
            return root(())
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = _node(peak, node)
        return node


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of the leaf at `index` in the tree over `leaves`, from its sibling upwards (section 2.1.1).

    Raises `InvalidRequest` for an index outside the tree.
    """
    if not 0 <= index < len(leaves):
        raise InvalidRequest(f"leaf {index} is not in a tree of {len(leaves)}")
    path = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        above = [_node(level[k], level[k + 1]) for k in range(0, len(level) - 1, 2)]
        level = above + level[len(level) // 2 * 2 :]
        index //= 2
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], head: bytes) -> bool:
    """Whether `path` proves that the leaf hash stands at `index` of the tree of `size` leaves with this head."""
    if not 0 <= index < size:
        return False
    node, last = leaf, size - 1
    rest = list(path)
    while last:
        if index & 1:
            if not rest:
                return False
            node = _node(rest.pop(0), node)
        elif index < last:
            if not rest:
                return False
            node = _node(node, rest.pop(0))
        index >>= 1
        last >>= 1
    return not rest and node == head
