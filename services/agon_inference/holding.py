"""The requests in this worker's hands, counted as they come and go: each record asks how many they are."""

from collections import Counter

from agon_inference.held import Held


class Holding(dict[str, Held]):
    """By key. Changed by item only: `holding[key] = held` and `del holding[key]`."""

    def __init__(self) -> None:
        super().__init__()
        self.models: Counter[str] = Counter()
        """How many there are of each model, or adapter."""
        self.bytes = 0
        """Size of their records."""

    def __setitem__(self, key: str, held: Held) -> None:
        self._count(self.get(key), -1)
        super().__setitem__(key, held)
        self._count(held, 1)

    def __delitem__(self, key: str) -> None:
        self._count(self[key], -1)
        super().__delitem__(key)

    def _count(self, held: Held | None, sign: int) -> None:
        if held is not None:
            self.bytes += sign * held.taken.size
            self.models[held.model] += sign
            if not self.models[held.model]:
                del self.models[held.model]
