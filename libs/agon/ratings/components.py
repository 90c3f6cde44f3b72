"""Which models can be compared at all.

The Bradley-Terry maximum is finite and unique, up to a shift, exactly where the graph "i scored against j" is strongly
connected (Zermelo 1929, Ford 1957). So components come first, and nothing is fitted across them.
"""

from collections.abc import Sequence

import numpy as np

from agon.ratings.cells import Array, Flags


def main_component(points: Array, votes: Array) -> list[int]:
    """The models (sorted indices) of the largest strong component of `points` (M, M), where [i, j] > 0 says that i
    scored against j. Of several largest the one with more votes (M,) is taken, then the one with the first model.
    """
    m = len(points)
    if m == 0:
        return []
    # Nearly always it holds the model with the most votes and most of the models: two searches tell.
    busiest = int(np.argmax(votes))
    both = _reached(points, busiest) & _reached(points.T, busiest)
    if 2 * np.count_nonzero(both) > m:
        return list(map(int, np.flatnonzero(both)))
    heads, tails = np.nonzero(points > 0)
    components = strong_components(m, heads.tolist(), tails.tolist())
    return max(components, key=lambda c: (len(c), float(votes[c].sum()), [-i for i in c]))


def _reached(points: Array, start: int) -> Flags:
    """(M,) which nodes can be reached from `start` along edges: those [from, to] that are above 0, all others 0."""
    seen = np.zeros(len(points), dtype=bool)
    seen[start] = True
    while True:
        further = seen | (seen @ points > 0)
        if np.array_equal(further, seen):
            return seen
        seen = further


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
