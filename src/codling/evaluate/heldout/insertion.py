"""Single-line insertion: hide a line of held-out code, ask for it, compare.

Input: the held-out samples. Output: questions (prefix, hidden line, suffix) and, given answers,
exact match and edit similarity. A question shows the file in its training layout: what its sample
holds before the cursor (the files it depends on, path comments) and what follows the line.

Not here: asking a model (score.py) or the n-gram baseline (ngram.py).
"""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

from codling.core.languages.table import LANGUAGES
from codling.corpus.heldout import unit_of
from codling.corpus.parts import Part, part_of

COMMENT_STARTS = ("#", "//", "/*", "*", "--", ";", "%", '"""', "'''", "<!--")
"""Marks that begin a comment or documentation in the languages of the table."""
SIDE_WEIGHT = 0.05
"""The weight of tests, of examples, of docs and of scripts; that of code is 1."""
PREFIX_CHARS = 16_000
SUFFIX_CHARS = 4_000
"""Characters kept before and after a line; more would not fit into a small model's window."""


_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class HiddenLine:
    """One hidden line."""

    path: str
    language: str
    line_number: int
    """Of the hidden line, counted from 1 in its file."""
    prefix: str
    """Everything before the line's first character that is not indentation."""
    truth: str
    """The line without indentation and trailing blanks."""
    suffix: str
    """Everything after the line's last character, beginning with its line break."""
    part: Part = "code"
    """The part of the repository that the file belongs to."""


@dataclass(frozen=True, kw_only=True)
class InsertionScore:
    """The score of a list of answers."""

    n_lines: int
    exact_match: float
    edit_similarity: float
    """Mean of 1 - Levenshtein distance / length of the longer."""
    n_lines_saved: int
    """Lines that are exactly right and need not be typed."""
    chars_saved: float
    """Share of all hidden characters that those lines hold."""


def questions(
    samples: Iterable[dict[str, Any]], n: int, min_chars: int, max_chars: int, seed: int
) -> list[HiddenLine]:
    """`n` hidden lines (or all, if there are fewer), in random order.

    Most are from code proper; tests, examples, docs and scripts have SIDE_WEIGHT each. In a part
    they are spread over repositories and packages by bytes, and there evenly over the files.
    """
    rng = random.Random(seed)
    groups: dict[Part, dict[tuple[str, str], _LineGroup]] = defaultdict(
        lambda: defaultdict(_LineGroup)
    )
    for sample in samples:
        for index, path in enumerate(sample["paths"]):
            if places := _places(sample, index, min_chars, max_chars):
                group = groups[part_of(path)][sample["repo"], unit_of(path)]
                group.n_bytes += _file_end(sample, index) - sample["starts"][index]
                group.pools.append(places)
    sizes = {part: sum(g.n_lines for g in inside.values()) for part, inside in groups.items()}
    weights = {part: 1.0 if part == "code" else SIDE_WEIGHT for part in sizes}
    chosen: list[HiddenLine] = []
    for part, n_part in allot(n, weights, sizes).items():
        inside = groups[part]
        by_bytes = {key: float(group.n_bytes) for key, group in inside.items()}
        rooms = {key: group.n_lines for key, group in inside.items()}
        for key, n_group in allot(n_part, by_bytes, rooms).items():
            chosen += [_question(*place) for place in _spread(inside[key].pools, n_group, rng)]
    rng.shuffle(chosen)
    return chosen


def allot(n: int, weights: dict[_Key, float], rooms: dict[_Key, int]) -> dict[_Key, int]:
    """`n` seats by weight (Webster's method), to each at most as many as it has room for.

    >>> allot(9, {"a": 6.0, "b": 3.0, "c": 1.0}, {"a": 4, "b": 9, "c": 9})
    {'a': 4, 'b': 4, 'c': 1}
    """
    given = dict.fromkeys(weights, 0)
    for _ in range(min(n, sum(rooms.values()))):
        free = [key for key in weights if given[key] < rooms[key]]
        given[max(free, key=lambda key: weights[key] / (2 * given[key] + 1))] += 1
    return given


def count_by_part(asked: Iterable[HiddenLine]) -> dict[str, int]:
    """How many questions each part of the repositories gave, largest first."""
    return dict(Counter(q.part for q in asked).most_common())


def score_answers(asked: Sequence[HiddenLine], answers: Sequence[str]) -> InsertionScore:
    """Compare answers with the hidden lines; trailing blanks do not count."""
    pairs = [(q.truth, a.rstrip()) for q, a in zip(asked, answers, strict=True)]
    saved = [truth for truth, answer in pairs if truth == answer]
    n = max(1, len(pairs))
    return InsertionScore(
        n_lines=len(pairs),
        exact_match=len(saved) / n,
        edit_similarity=sum(edit_similarity(*pair) for pair in pairs) / n,
        n_lines_saved=len(saved),
        chars_saved=sum(map(len, saved)) / max(1, sum(len(truth) for truth, _ in pairs)),
    )


def edit_similarity(a: str, b: str) -> float:
    """1 - Levenshtein distance / length of the longer; 1 for two empty strings.

    >>> edit_similarity("return x", "return y")
    0.875
    """
    if not a and not b:
        return 1.0
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return 1 - row[-1] / max(len(a), len(b))


class _LineGroup:
    """The files of a package that can be asked about."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self.pools: list[list[_LinePosition]] = []

    @property
    def n_lines(self) -> int:
        return sum(map(len, self.pools))


def _spread(
    pools: list[list["_LinePosition"]], n: int, rng: random.Random
) -> list["_LinePosition"]:
    """`n` lines, one of every file before a second of any."""
    for pool in pools:
        rng.shuffle(pool)
    rng.shuffle(pools)
    rounds = zip_longest(*pools)
    return [place for each in rounds for place in each if place is not None][:n]


_LinePosition = tuple[dict[str, Any], int, int, int]
"""A line: its sample, the index of its file, and where it begins and ends in the content."""


def _places(
    sample: dict[str, Any], index: int, min_chars: int, max_chars: int
) -> list[_LinePosition]:
    row = LANGUAGES.get(sample["languages"][index])
    if row is None or row.family != "code":
        return []
    marks = COMMENT_STARTS + ((row.line_comment,) if row.line_comment else ())
    return [
        (sample, index, start, start + len(text))
        for start, text in _lines(sample, index)
        if min_chars <= len(text) <= max_chars and not text.startswith(marks)
    ]


def _lines(sample: dict[str, Any], index: int) -> Iterator[tuple[int, str]]:
    """Each line of a file after its path comment: where it begins, and its text, both stripped."""
    content, file_end = sample["content"], _file_end(sample, index)
    position = content.find("\n", sample["starts"][index]) + 1
    while 0 < position < file_end:
        line_end = content.find("\n", position)
        line = content[position : line_end if line_end >= 0 else file_end]
        yield position + len(line) - len(line.lstrip()), line.strip()
        position += len(line) + 1


def _question(sample: dict[str, Any], index: int, start: int, end: int) -> HiddenLine:
    content = sample["content"]
    return HiddenLine(
        path=f"{sample['repo']}/{sample['paths'][index]}",
        language=sample["languages"][index],
        line_number=content.count("\n", sample["starts"][index], start),
        prefix=content[max(0, start - PREFIX_CHARS) : start],
        truth=content[start:end],
        suffix=content[end : min(_file_end(sample, index), end + SUFFIX_CHARS)],
        part=part_of(sample["paths"][index]),
    )


def _file_end(sample: dict[str, Any], index: int) -> int:
    starts = sample["starts"]
    return int(starts[index + 1]) if index + 1 < len(starts) else len(sample["content"])
