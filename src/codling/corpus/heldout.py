"""The held-out split: which packages of a repository are kept from training.

Input: the paths and sizes of a repository's source files. Output: the units (top-level packages,
folders or modules; in a src-layout those below src) that are held out, chosen by a hash of seed,
repository and unit before anything is learned.

Not here: duplicates of held-out files in the training part (clean.py removes the held-out copy).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable

MAX_UNIT_SHARE = 0.2
"""A unit with more of a repository's bytes is its core, and is always trained on."""
MIN_UNITS = 3
"""A repository of fewer units keeps nothing out: too little would be left."""
OVERSHOOT = 1.25
"""The share that is aimed at may be exceeded this much by the last unit."""


def unit_of(path: str) -> str:
    """The unit that a file belongs to.

    >>> unit_of("pkg/sub/a.py"), unit_of("tool.py"), unit_of("src/pkg/a.py"), unit_of("src/m.py")
    ('pkg', 'tool.py', 'src/pkg', 'src/m.py')
    """
    first, _, rest = path.partition("/")
    if first == "src" and rest:
        return f"src/{rest.partition('/')[0]}"
    return first


def heldout_units(
    repo: str, files: Iterable[tuple[str, int]], *, fraction: float, seed: int
) -> frozenset[str]:
    """The held-out units of one repository, of which `files` are the (path, bytes) of its code.

    Units are taken in the order of their hashes while they fit into `fraction` of the bytes. At
    least one is taken where there are three or more: the smallest, if none fits.
    """
    sizes: Counter[str] = Counter()
    for path, n_bytes in files:
        sizes[unit_of(path)] += n_bytes
    if fraction <= 0 or len(sizes) < MIN_UNITS:
        return frozenset()
    total = sum(sizes.values())
    order = sorted(sizes, key=lambda unit: _hash(seed, repo, unit))
    small = [unit for unit in order if sizes[unit] <= MAX_UNIT_SHARE * total]
    taken: list[str] = []
    n_taken = 0
    for unit in small:
        if n_taken + sizes[unit] <= fraction * total * OVERSHOOT:
            taken.append(unit)
            n_taken += sizes[unit]
        if n_taken >= fraction * total:
            break
    return frozenset(taken or [min(small or order, key=sizes.__getitem__)])


def is_heldout_unit(repo: str, unit: str, *, fraction: float, seed: int) -> bool:
    """Whether a unit is held out where the sizes of all units are not known beforehand."""
    return int.from_bytes(_hash(seed, repo, unit)[:8]) < fraction * 2**64


def _hash(seed: int, repo: str, unit: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{repo}\0{unit}".encode()).digest()
