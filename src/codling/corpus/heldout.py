"""The held-out split: what of a repository is kept from training, before anything is learned.

Input: the paths, sizes and commit times of a repository's source files. Output: a `Heldout`, which
says of each file whether it is held out. Four ways (`collect.heldout_by`):

    package           units (top-level packages, folders or modules; in a src-layout those below
                      src; of a large package what it holds) in the order of a hash of seed,
                      repository and unit, separately for code, tests, examples, docs and scripts
    file-time         files that a commit changed at or after a moment
    repository-time   repositories that a commit changed at or after a moment
    commits           what later commits brought is not even read (collect.py); units of
                      the tree before them as by package, for validation while training

Without a moment given, it is the one that holds out the newest share of all dated code of the run.
What has no commit time is trained on.

Not here: duplicates of held-out files in the training part (clean.py removes the held-out copy).
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass

from codling.core.errors import ConfigError
from codling.corpus.config import CollectConfig
from codling.corpus.parts import PARTS, part_of, place_in_part
from codling.corpus.tables.schemas import Split

MAX_UNIT_SHARE = 0.2
"""A unit with more of its part's bytes is cut into the folders and files that it holds; a file with
more is always trained on."""
MIN_UNITS = 3
"""A repository of fewer units keeps nothing out: too little would be left."""
OVERSHOOT = 1.25
"""The share that is aimed at may be exceeded this much by the last unit."""


@dataclass(frozen=True)
class Heldout:
    """What of a repository is held out: some of its units, or what is new."""

    units: frozenset[str] = frozenset()
    since: int | None = None
    """Unix second; a file changed then or later is held out."""
    is_whole: bool = False
    """Whether the whole repository is held out."""

    def split(self, path: str, changed_at: int | None) -> Split:
        """The part that a file belongs to."""
        is_new = self.since is not None and changed_at is not None and changed_at >= self.since
        return "heldout" if self.is_whole or is_new or self._has_unit(path) else "train"

    def _has_unit(self, path: str) -> bool:
        ends = [i for i, c in enumerate(path) if c == "/"] if self.units else []
        return path in self.units or any(path[:end] in self.units for end in ends)


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file that is read, as the split sees it."""

    path: str
    n_bytes: int
    changed_at: int | None = None
    is_code: bool = True
    """Whether it counts in the share that is held out; pages and data do not."""


def choose_heldout(repo: str, files: Iterable[CodeFile], config: CollectConfig) -> Heldout:
    """What of one repository is held out; `files` are all of it that is read."""
    since = config.heldout_moment
    match config.heldout_by:
        case "file-time":
            return Heldout(since=since)
        case "repository-time":
            newest = max((f.changed_at or 0 for f in files), default=0)
            return Heldout(is_whole=since is not None and newest >= since)
        case "package" | "commits":
            read = list(files)
            sizes = ((f.path, f.n_bytes) for f in read if f.is_code)
            others = ((f.path, f.n_bytes) for f in read if not f.is_code)
            fraction, seed = config.heldout_fraction, config.seed
            return Heldout(heldout_units(repo, sizes, others, fraction=fraction, seed=seed))


def row_heldout(repo: str, path: str, config: CollectConfig) -> Heldout:
    """The same for a single row of a corpus, where the sizes of all units are not known.

    By repository-time too a row is judged by its own time: such corpora date whole repositories.
    """
    if config.heldout_by in ("file-time", "repository-time"):
        return Heldout(since=config.heldout_moment)
    unit = unit_of(path)
    is_heldout = is_heldout_unit(repo, unit, fraction=config.heldout_fraction, seed=config.seed)
    return Heldout(frozenset({unit}) if is_heldout else frozenset())


def newest_since(repositories: Iterable[Sequence[CodeFile]], config: CollectConfig) -> int:
    """The moment since which about `heldout_fraction` of all dated code was changed.

    Raises ConfigError where nothing is dated, or where the last moment changed too much of it.
    """
    sizes: Counter[int] = Counter()
    for files in repositories:
        code = [f for f in files if f.is_code]
        dated = [(f.changed_at, f.n_bytes) for f in code if f.changed_at is not None]
        if config.heldout_by == "repository-time" and dated:
            sizes[max(second for second, _ in dated)] += sum(n for _, n in dated)
        elif config.heldout_by == "file-time":
            for second, n_bytes in dated:
                sizes[second] += n_bytes
    if not sizes:
        raise ConfigError(
            f"heldout_by {config.heldout_by} needs a git repository with history among the "
            "sources; else give heldout_since, or choose heldout_by package"
        )
    return _newest(sizes, config)


def _newest(sizes: Counter[int], config: CollectConfig) -> int:
    total = sum(sizes.values())
    order = sorted(sizes, reverse=True)
    since, taken = order[0], sizes[order[0]]
    if taken > MAX_UNIT_SHARE * total:
        raise ConfigError(
            f"heldout_by {config.heldout_by}: the newest commit alone dates {taken / total:.0%} of "
            "the code; give heldout_since, or choose heldout_by package"
        )
    for second in order[1:]:
        if taken + sizes[second] > config.heldout_fraction * total * OVERSHOOT:
            break
        since, taken = second, taken + sizes[second]
    return since


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
    repo: str,
    files: Iterable[tuple[str, int]],
    others: Iterable[tuple[str, int]] = (),
    *,
    fraction: float,
    seed: int,
) -> frozenset[str]:
    """The held-out units of one repository, of which `files` are the (path, bytes) of its code.

    `others` are its pages and data: they do not count, but a unit with many of them is not taken.

    Code, tests, examples, docs and scripts are treated separately, so that each gives its share. In
    each, units are taken in the order of their hashes while they fit into `fraction` of the bytes.
    At least one is taken where there are three or more: the smallest, if none fits. A repository
    of which no part has three units is treated as a whole.
    """
    found, pages = list(files), list(others)
    if fraction <= 0:
        return frozenset()

    def take(named: str | None) -> frozenset[str]:
        own, beside = (
            [each for each in some if named in (None, part_of(each[0]))] for some in (found, pages)
        )
        return _take(own, beside, fraction, lambda unit: _hash(seed, repo, unit))

    return frozenset().union(*map(take, PARTS)) or take(None)


def _take(
    files: Sequence[tuple[str, int]],
    others: Sequence[tuple[str, int]],
    fraction: float,
    rank: Callable[[str], bytes],
) -> frozenset[str]:
    sizes, cut = _sizes(files)
    if len(sizes) < MIN_UNITS:
        return frozenset()
    total = sum(sizes.values())
    order = sorted(sizes, key=rank)
    whole = sizes.copy()
    for path, n_bytes in others:
        whole[_unit_within(path, cut)] += n_bytes
    limit, whole_limit = MAX_UNIT_SHARE * total, MAX_UNIT_SHARE * sum(whole.values())
    small = [u for u in order if sizes[u] <= limit and whole[u] <= whole_limit]
    taken: list[str] = []
    n_taken = 0
    for unit in small:
        if n_taken + sizes[unit] <= fraction * total * OVERSHOOT:
            taken.append(unit)
            n_taken += sizes[unit]
        if n_taken >= fraction * total:
            break
    return frozenset(taken or [min(small or order, key=sizes.__getitem__)])


def _sizes(files: Sequence[tuple[str, int]]) -> tuple[Counter[str], set[str]]:
    """(bytes of every unit, the units that were too large and are cut into what they hold)."""
    limit = MAX_UNIT_SHARE * sum(n_bytes for _, n_bytes in files)
    cut: set[str] = set()
    final: Counter[str] = Counter()
    waiting = [(path, n_bytes, _first_unit(path)) for path, n_bytes in files]
    while waiting:
        sizes: Counter[str] = Counter()
        for _, n_bytes, unit in waiting:
            sizes[unit] += n_bytes
        large = {u for u, path in ((u, p) for p, _, u in waiting) if sizes[u] > limit and u != path}
        final.update({u: n for u, n in sizes.items() if u not in large})
        cut |= large
        waiting = [(p, n, _go_deeper(p, u)) for p, n, u in waiting if u in large]
    return final, cut


def _first_unit(path: str) -> str:
    return unit_of(path) if part_of(path) == "code" else place_in_part(path)


def _unit_within(path: str, cut: Container[str]) -> str:
    unit = _first_unit(path)
    while unit in cut and unit != path:
        unit = _go_deeper(path, unit)
    return unit


def _go_deeper(path: str, unit: str) -> str:
    """`unit` with one more of the names of `path`, which begins with it."""
    return f"{unit}/{path[len(unit) + 1 :].partition('/')[0]}"


def is_heldout_unit(repo: str, unit: str, *, fraction: float, seed: int) -> bool:
    """Whether a unit is held out where the sizes of all units are not known beforehand."""
    return int.from_bytes(_hash(seed, repo, unit)[:8]) < fraction * 2**64


def _hash(seed: int, repo: str, unit: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{repo}\0{unit}".encode()).digest()
