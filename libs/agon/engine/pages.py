"""The KV cache's pages, as numbers: who holds which, and how many are free. The tensors are in `kv`."""


class PagePool:
    """Pages 1 to `count`, with reference counts. Page 0 is the padding of short rows: never handed out, always zero.

    Pages released as `dirty` may hold what a model computed from a broken input (NaN times a masked weight of zero is
    NaN again), so they are named by `take_dirty` and must be cleared before anyone reads them.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count, 0, -1))
        self._references = [0] * (count + 1)
        self._dirty: set[int] = set()

    @property
    def free(self) -> int:
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """`count` pages with one reference each. The caller has looked at `free`: raises `ValueError` if too few."""
        if count > len(self._free):
            raise ValueError(f"{count} pages wanted, {len(self._free)} free")
        pages = [self._free.pop() for _ in range(count)]
        for page in pages:
            self._references[page] = 1
        return pages

    def share(self, pages: list[int]) -> list[int]:
        """The same pages for one more holder."""
        for page in pages:
            self._references[page] += 1
        return list(pages)

    def release(self, pages: list[int], *, dirty: bool) -> None:
        """Give up one reference to each page; those without holders are free."""
        for page in pages:
            self._references[page] -= 1
            if self._references[page] == 0:
                self._free.append(page)
                if dirty:
                    self._dirty.add(page)
            elif self._references[page] < 0:
                raise ValueError(f"page {page} was released twice")

    def take_dirty(self) -> list[int]:
        dirty, self._dirty = sorted(self._dirty), set()
        return dirty

    def references(self) -> list[int]:
        """How often each page is held, page 0 first: for checks."""
        return list(self._references)
