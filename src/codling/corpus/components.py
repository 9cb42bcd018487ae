"""Connected components by union-find: which members hang together.

Input: a list of roots and pairs that are connected. Output: every member's root is the least
member of its component.

Not here: what the members are (dependencies/order.py: files; duplicates/clusters.py: documents).
"""

from collections.abc import MutableSequence, Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def unite(
    root: MutableSequence[int] | Ids, left: Sequence[int] | Ids, right: Sequence[int] | Ids
) -> None:
    """Unite the components of `left[i]` and `right[i]`; `root` begins as 0, 1, 2 ...

    Plain loops, which numba compiles for arrays and Python runs for lists.

    >>> root = [0, 1, 2, 3]
    >>> unite(root, [3, 2], [2, 0])
    >>> root
    [0, 1, 0, 0]
    """
    for i in range(len(left)):
        a, b = left[i], right[i]
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        while root[b] != b:
            root[b] = root[root[b]]
            b = root[b]
        root[max(a, b)] = min(a, b)
    for i in range(len(root)):
        # Roots are the least of their component, so the root of every smaller one is final.
        root[i] = root[root[i]]
