"""The KV cache's pages, as numbers: who holds which, what they hold, and which are free. The tensors are in `kv`.

A full page can be published under the hash of all tokens up to its end. Whoever begins with the same tokens takes it
instead of computing it again. A free page keeps its content until it is handed out for another; the one that has been
free the longest goes first, and of a sequence's pages the last one, since those before it serve more prompts.
"""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

_DIGEST_BYTES = 16


def root_of(adapter: str | None, salt: str) -> bytes:
    """Where a hash chain begins: what must be equal besides the tokens for two sequences to share pages."""
    return blake2b(repr((adapter, salt)).encode(), digest_size=_DIGEST_BYTES).digest()


def link(parent: bytes, tokens: Sequence[int]) -> bytes:
    """The hash of a page's tokens behind `parent`, the hash of all that comes before."""
    return blake2b(array("q", tokens).tobytes(), key=parent, digest_size=_DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class _Content:
    digest: bytes
    parent: bytes
    tokens: tuple[int, ...]


class PagePool:
    """Pages 1 to `count`, with reference counts. Page 0 is the padding of short rows: never handed out, always zero.

    Pages released as `dirty` may hold what a model computed from a broken input (NaN times a masked weight of zero is
    NaN again), so they are named by `take_dirty` and must be cleared before anyone reads them.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(1, count + 1))  # the next to hand out first
        self._references = [0] * (count + 1)
        self._contents: dict[int, _Content] = {}
        self._published: dict[bytes, int] = {}
        self._dirty: set[int] = set()

    @property
    def free(self) -> int:
        """Pages without a holder, those with a published content among them."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """`count` pages with one reference each. The caller has looked at `free`: raises `ValueError` if too few."""
        if count > len(self._free):
            raise ValueError(f"{count} pages wanted, {len(self._free)} free")
        pages = [self._free.popitem(last=False)[0] for _ in range(count)]
        for page in pages:
            self._references[page] = 1
            if content := self._contents.pop(page, None):
                del self._published[content.digest]
        return pages

    def share(self, pages: list[int]) -> list[int]:
        """The same pages for one more holder."""
        for page in pages:
            self._references[page] += 1
            self._free.pop(page, None)
        return list(pages)

    def release(self, pages: list[int], *, dirty: bool = False) -> None:
        """Give up one reference to each page of a sequence, in its order; those without holders are free.

        A published page is never dirty: it was proved to be good before.
        """
        for page in reversed(pages):
            self._references[page] -= 1
            if self._references[page] < 0:
                raise ValueError(f"page {page} was released twice")
            if self._references[page] == 0:
                self._free[page] = None
                if page not in self._contents:
                    self._free.move_to_end(page, last=False)
                    if dirty:
                        self._dirty.add(page)

    def publish(self, page: int, parent: bytes, digest: bytes, tokens: Sequence[int]) -> None:
        """Say what a held page holds: these tokens behind `parent`, computed and known to be good. The first page of
        several with the same content is the one that others get."""
        if digest not in self._published:
            self._published[digest] = page
            self._contents[page] = _Content(digest, parent, tuple(tokens))

    def find(self, chain: Sequence[bytes], tokens: Sequence[int], page_size: int) -> list[int]:
        """The published pages that `tokens` begin with. `chain` is their root, then one hash for each page to look for.

        Tokens are compared, so that no two texts are ever mistaken for each other, whatever they hash to.
        """
        pages = []
        for index, (parent, digest) in enumerate(pairwise(chain)):
            page = self._published.get(digest)
            if page is None:
                break
            content = self._contents[page]
            if content.parent != parent or content.tokens != tuple(tokens[index * page_size : (index + 1) * page_size]):
                break
            pages.append(page)
        return pages

    def idle(self, pages: list[int]) -> int:
        """How many of these nobody holds."""
        return sum(page in self._free for page in pages)

    def take_dirty(self) -> list[int]:
        dirty, self._dirty = sorted(self._dirty), set()
        return dirty

    def references(self) -> list[int]:
        """How often each page is held, page 0 first: for checks."""
        return list(self._references)
