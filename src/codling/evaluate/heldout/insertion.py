"""Single-line insertion: hide a line of held-out code, ask for it, compare.

Input: the samples. Output: questions (prefix, hidden line, suffix) with the reasons for their
choice and, given answers, exact match and edit similarity. A question shows the file in its
training layout: what its sample holds before the cursor (the files it depends on, path comments)
and what follows the line.

Not here: what counts as code of the project (project_code.py), how lines are spread (spread.py),
asking a model (score.py) or the n-gram baseline (ngram.py).
"""

import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from codling.core.languages.table import LANGUAGES
from codling.corpus.filters.shares import comment_spans
from codling.corpus.parts import Part, part_of
from codling.evaluate.heldout.long_strings import long_strings
from codling.evaluate.heldout.project_code import (
    COMMENT_STARTS,
    HEAD_CHARS,
    NO_CODE,
    file_reason,
)
from codling.evaluate.heldout.spread import FileLines, allot, spread_lines

PREFIX_CHARS = 16_000
SUFFIX_CHARS = 4_000
"""Characters kept before and after a line; more would not fit into a small model's window."""
NO_PROJECT_CODE = "no code of the project is held out: lines of the files beside it were asked"


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


@dataclass(frozen=True)
class LineChoice:
    """The chosen lines, and what there was to choose from."""

    asked: list[HiddenLine]
    """In random order."""
    stock: "_Stock"
    is_beside_code: bool = False
    """Whether nothing that can be asked about is code of the project."""

    def report(self) -> dict[str, Any]:
        """Lines by language and folder beside the shares of code there; what was left out, why."""
        by_language = Counter(q.language for q in self.asked)
        by_folder = Counter(q.path.rpartition("/")[0] for q in self.asked)
        note = {"note": NO_PROJECT_CODE} if self.is_beside_code else {}
        return note | {
            "languages": {
                name: {"asked": by_language[name], "share_of_code": share}
                for name, share in self.stock.language_shares(by_language).items()
            },
            "folders": dict(by_folder.most_common()),
            "left_out": {
                "files": {
                    reason: {"n": len(paths), "example": paths[0]}
                    for reason, paths in sorted(self.stock.left_out.items())
                },
                "lines": dict(self.stock.left_out_lines.most_common()),
            },
        }


def questions(
    samples: Iterable[dict[str, Any]], n: int, min_chars: int, max_chars: int, seed: int
) -> list[HiddenLine]:
    """The lines of `choose_lines` alone."""
    return choose_lines(samples, n, min_chars, max_chars, seed).asked


def choose_lines(
    samples: Iterable[dict[str, Any]], n: int, min_chars: int, max_chars: int, seed: int
) -> LineChoice:
    """`n` lines (or all, if there are fewer) of code of the projects, without comments and without
    what stands in strings over several lines.

    They are spread over repositories and languages by all their code, that of training samples
    included, and there over the folders of what is held out. A sample without a split is held out.
    Where no code of the project is held out, the files beside it are asked about, and the report
    says so.
    """
    rng = random.Random(seed)
    stock = _take_stock(samples)
    files = stock.find_lines(stock.code, min_chars, max_chars)
    sizes, is_beside = stock.code_chars, not files
    if is_beside:
        files = stock.find_lines(stock.beside, min_chars, max_chars)
        sizes = Counter({key: sum(f.n_chars for f in some) for key, some in files.items()})
    rooms = {key: sum(len(f.lines) for f in some) for key, some in files.items()}
    chosen: list[HiddenLine] = []
    for key, n_here in allot(n, {key: float(sizes[key]) for key in files}, rooms).items():
        chosen += [_question(*place) for place in spread_lines(files[key], n_here, rng)]
    rng.shuffle(chosen)
    return LineChoice(chosen, stock, is_beside and bool(chosen))


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


_Language = tuple[str, str]
"""A repository and a language."""


@dataclass
class _Stock:
    """What the samples hold: files as (sample, index of the file in it)."""

    code_chars: Counter[_Language] = field(default_factory=Counter)
    """Of all code of the projects, held out or not."""
    code: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    beside: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    """Held-out files in programming languages that are no code of the project."""
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Paths of held-out files by the reason why they are not asked about."""
    left_out_lines: Counter[str] = field(default_factory=Counter)

    def find_lines(
        self, files: list[tuple[dict[str, Any], int]], min_chars: int, max_chars: int
    ) -> dict[_Language, list[FileLines["_LinePosition"]]]:
        """The lines of files that can be asked about."""
        found: dict[_Language, list[FileLines[_LinePosition]]] = defaultdict(list)
        for sample, index in files:
            places = list(_places(sample, index, min_chars, max_chars, self.left_out_lines))
            if places:
                n_chars = _file_end(sample, index) - sample["starts"][index]
                file = FileLines(sample["paths"][index], n_chars, places)
                found[sample["repo"], sample["languages"][index]].append(file)
        return found

    def language_shares(self, asked: Iterable[str]) -> dict[str, float]:
        """Share of each language in all code of the projects, largest first."""
        chars = Counter(dict.fromkeys(asked, 0))
        for (_, language), n in self.code_chars.items():
            chars[language] += n
        total = max(1, chars.total())
        return {language: round(n / total, 4) for language, n in chars.most_common()}


def _take_stock(samples: Iterable[dict[str, Any]]) -> _Stock:
    stock = _Stock()
    for sample in samples:
        is_heldout = sample.get("split", "heldout") == "heldout"
        for index, path in enumerate(sample["paths"]):
            start, language = sample["starts"][index], sample["languages"][index]
            end = _file_end(sample, index)
            head = sample["content"][start : min(end, start + HEAD_CHARS)]
            reason = file_reason(path, language, head)
            if reason is None:
                stock.code_chars[sample["repo"], language] += end - start
            if not is_heldout:
                continue
            if reason is not None:
                stock.left_out[reason].append(f"{sample['repo']}/{path}")
            if reason != NO_CODE:
                (stock.code if reason is None else stock.beside).append((sample, index))
    return stock


_LinePosition = tuple[dict[str, Any], int, int, int]
"""A line: its sample, the index of its file, and where it begins and ends in the content."""


def _places(
    sample: dict[str, Any], index: int, min_chars: int, max_chars: int, left_out: Counter[str]
) -> Iterator[_LinePosition]:
    """The lines of a file that can be asked about; the others are counted in `left_out`."""
    language = sample["languages"][index]
    line_comment = LANGUAGES[language].line_comment
    marks = COMMENT_STARTS + ((line_comment,) if line_comment else ())
    file_start, file_end = sample["starts"][index], _file_end(sample, index)
    whole = sample["content"][file_start:file_end]
    comments, strings = comment_spans(whole, language), long_strings(whole, language)
    for start, text in _lines(sample, index):
        if text and (_is_inside(start - file_start, comments) or text.startswith(marks)):
            left_out["comment"] += 1
        elif text and _is_inside(start - file_start, strings):
            left_out["string"] += 1
        elif min_chars <= len(text) <= max_chars:
            yield sample, index, start, start + len(text)
        elif text:
            left_out["length"] += 1


def _is_inside(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    at = bisect_right(spans, place, key=lambda span: span[0]) - 1
    return at >= 0 and place < spans[at][1]


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
