"""Which models can be compared at all.

The Bradley-Terry maximum is finite and unique, up to a shift, exactly where the graph "i scored against j" is strongly
connected (Zermelo 1929, Ford 1957). So components come first, and nothing is fitted across them.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agon.ratings.cells import PairCells


def scored(cells: PairCells) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Edges (winner, loser) of "scored against", ties and both bad counting for both. Two arrays (E,)."""
    left_wins, right_wins, ties, both_bad = cells.counts.T
    shared = ties + both_bad
    forward, backward = left_wins + shared > 0, right_wins + shared > 0
    return (
        np.concatenate([cells.left[forward], cells.right[backward]]),
        np.concatenate([cells.right[forward], cells.left[backward]]),
    )


def strong_components(n: int, heads: Sequence[int], tails: Sequence[int]) -> list[list[int]]:
    """Tarjan's strongly connected components (SIAM J. Comput. 1972, without recursion) of `n` nodes.

    Edges go from `heads[k]` to `tails[k]`. Each component is sorted, and the components by their first node.
    """
    after: list[list[int]] = [[] for _ in range(n)]
    for head, tail in zip(heads, tails, strict=True):
        after[head].append(tail)
    index = [-1] * n
    low = [0] * n
    on_stack = [False] * n
    stack: list[int] = []
    found: list[list[int]] = []
    seen = 0
    for root in range(n):
        if index[root] >= 0:
            continue
        path = [(root, 0)]
        while path:
            node, at = path.pop()
            if at == 0:
                index[node] = low[node] = seen
                seen += 1
                stack.append(node)
                on_stack[node] = True
            else:
                low[node] = min(low[node], low[after[node][at - 1]])
            while at < len(after[node]):
                following = after[node][at]
                at += 1
                if index[following] < 0:
                    path.extend([(node, at), (following, 0)])
                    break
                if on_stack[following]:
                    low[node] = min(low[node], index[following])
            else:
                if low[node] == index[node]:
                    cut = stack.index(node)
                    component, stack = stack[cut:], stack[:cut]
                    for member in component:
                        on_stack[member] = False
                    found.append(sorted(component))
    return sorted(found)
