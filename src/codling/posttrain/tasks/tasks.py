"""The stage tasks: rows with tests from published files, made-up families and own repositories.

Input: files of JSON Lines (also .gz), folders with Python code and its unit tests. Output: an
artefact of kind "tasks" with tasks.jsonl, a row per exercise (exercise.py), and with --ask chat
solutions.jsonl, what `codling data dialogues` can read. Where a right answer is
known, both it and an empty function run against every test in the sandbox; a test is kept if the
one passes and the other fails.

Not here: what the rows look like (published.py, repository.py).
"""

import ast
import hashlib
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from codling.core.errors import ConfigError, SourceError
from codling.core.files import write_json_lines
from codling.core.folder_walk import files_below
from codling.core.foreign_json import parse_lines
from codling.core.inputs import source_input
from codling.core.log import Bar, say
from codling.core.ranges import CountFromZero, ProperShare, Range, Ranged, Seed, WorkersFromZero
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.grading.python_code import strip_demonstrations
from codling.posttrain.tasks.exercise import Exercise, is_held_out, to_row
from codling.posttrain.tasks.families import make_exercises
from codling.posttrain.tasks.programs import is_isolated, program
from codling.posttrain.tasks.published import Asking, read_published
from codling.posttrain.tasks.repository import read_repository
from codling.sandbox.executor import Executor, Program

KIND, ROWS, SOLUTIONS = "tasks", "tasks.jsonl", "solutions.jsonl"
_AT_ONCE = 64
"""Exercises whose tests run together."""


@dataclass(frozen=True, kw_only=True)
class TasksConfig(Ranged):
    """Settings of `codling data tasks`."""

    sources: tuple[Path, ...] = aside(())
    """Files of rows (MBPP, HumanEval, LeetCode, GSM8K, MATH, our own), or folders with Python code
    and unit tests."""
    out_dir: Path = aside(Path("runs/tasks"))
    """Where the rows go."""
    ask: Asking = "base"
    """base: a text to be continued; chat: a question, answered in a code block."""
    hidden_share: Annotated[float, Range(0, 0.9)] = 0.34
    """Share of every row's tests that are hidden: they are for evaluation, never for a reward."""
    made_up: CountFromZero = 0
    """So many exercises of made-up families of small functions besides."""
    all_rows: bool = False
    """Also the rows of MBPP outside its train split; the benchmark then measures what was
    learned."""
    seconds: Annotated[float, Range(0.1, 600)] = 4.0
    """Run time of a program with tests."""
    heldout_share: ProperShare = 0.2
    """Share of the groups that grpo will hold out: their solutions are not in solutions.jsonl."""
    seed: Seed = 0
    """Decides the made-up exercises, and with heldout_share what is held out."""
    workers: WorkersFromZero = aside(0)
    """Sandboxes at once; 0 takes every core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources and not self.made_up:
            raise ConfigError("sources is empty; name a file or a folder, or give --made-up 200")


@stage(KIND, version=3)
def tasks(config: TasksConfig) -> Work:
    """Prompts with tests, from published rows or from your own repository's unit tests.

    A test is kept if a right answer passes it and an empty function does not.

    Raises SourceError for a source without usable rows, ToolMissingError without a sandbox.

    Example:
        codling data tasks ~/src/app mbpp.jsonl --out-dir runs/tasks
    """
    draft = yield [source_input(path, _identity(path)) for path in config.sources]
    reasons: Counter[str] = Counter()
    kept: list[Exercise] = []
    read = list(_read(config, reasons))
    with Executor(config.workers) as executor, Bar("tasks", len(read), unit="rows") as bar:
        for at in range(0, len(read), _AT_ONCE):
            kept += _keep(executor, read[at : at + _AT_ONCE], config.seconds, reasons)
            bar.advance(len(read[at : at + _AT_ONCE]))
    if reasons:
        say("left out: " + ", ".join(f"{n:,} {reason}" for reason, n in reasons.items()))
    if not kept:
        names = " ".join(map(str, config.sources))
        raise SourceError(f"no row of {names} can be used ({dict(reasons)})")
    write_json_lines(draft.file(ROWS), [to_row(each) for each in kept])
    taught = [each for each in kept if not is_held_out(each, config.heldout_share, config.seed)]
    write_json_lines(draft.file(SOLUTIONS), list(map(_teach, filter(_is_taught, taught))))
    n_hidden = sum(bool(each.hidden_tests) for each in kept)
    draft.counts |= {"tasks": len(kept), "with_hidden_tests": n_hidden}
    draft.counts |= {f"left_out_{reason.replace(' ', '_')}": n for reason, n in reasons.items()}


def _is_taught(exercise: Exercise) -> bool:
    return exercise.solution is not None and not isinstance(exercise.prompt, str)


def _teach(exercise: Exercise) -> dict[str, Any]:
    """A question with its right answer, as a dialogue."""
    assert exercise.solution is not None
    answer = f"```{exercise.language}\n{exercise.solution.strip()}\n```"
    asked = [dict(turn) for turn in exercise.prompt if not isinstance(turn, str)]
    turns = [*asked, {"role": "assistant", "content": answer}]
    return {"id": exercise.id, "messages": turns}


def keep_what_discriminates(
    executor: Executor, exercises: Sequence[Exercise], seconds: float
) -> list[Exercise | None]:
    """Each exercise with the tests that its solution passes and an empty function fails; None where
    none is left. An exercise without a known solution stays as it is."""
    tried = [each for each in exercises if each.solution is not None and is_isolated(each)]
    wholes = [
        program(each, code, tests, seconds)
        for each in tried
        for code, tests in ((_right(each), _all(each)), (_empty(each), [_fails(_all(each))]))
    ]
    whole = _passes(executor, wholes)
    clear = {
        each.id: right and empty
        for each, right, empty in zip(tried, whole[0::2], whole[1::2], strict=True)
    }
    unclear = [each for each in tried if not clear[each.id]]
    singles = [
        program(each, code, [test], seconds)
        for each in unclear
        for code, tests in (
            (_right(each), _all(each)),
            (_empty(each), [_fails([test]) for test in _all(each)]),
        )
        for test in tests
    ]
    verdicts = iter(_passes(executor, singles))
    chosen: dict[str, Exercise | None] = {each.id: each for each in exercises}
    for exercise in unclear:
        right, empty = ([next(verdicts) for _ in _all(exercise)] for _ in range(2))
        told = [r and e for r, e in zip(right, empty, strict=True)]
        chosen[exercise.id] = _with_tests(exercise, told)
    return [chosen[each.id] for each in exercises]


def _passes(executor: Executor, programs: Sequence[Program]) -> list[bool]:
    found = dict(executor.map(programs))
    return [found[i].passed for i in range(len(programs))]


def _all(exercise: Exercise) -> list[str]:
    return [*exercise.tests, *exercise.hidden_tests]


def _right(exercise: Exercise) -> str:
    assert exercise.solution is not None
    return strip_demonstrations(exercise.solution, exercise.entry_point)


def _fails(tests: Sequence[str]) -> str:
    """Statements that fail where one of the tests passes."""
    return "\n".join(
        f"try:\n{textwrap.indent(test, '    ')}\nexcept BaseException:\n    pass\n"
        "else:\n    raise AssertionError('it passes')"
        for test in (ast.unparse(ast.parse(each)) for each in tests)
    )


def _with_tests(exercise: Exercise, kept: Sequence[bool]) -> Exercise | None:
    n = len(exercise.tests)
    shown = [t for t, keep in zip(exercise.tests, kept[:n], strict=True) if keep]
    hidden = [t for t, keep in zip(exercise.hidden_tests, kept[n:], strict=True) if keep]
    if not shown and len(hidden) > 1:
        shown = [hidden.pop(0)]
    if not shown:
        return None
    return replace(exercise, tests=tuple(shown), hidden_tests=tuple(hidden))


def _empty(exercise: Exercise) -> str:
    """The function without a body."""
    lines = ["    pass"]
    if exercise.begin.startswith("def "):
        header = exercise.begin.rstrip()
        try:
            ast.parse(f"{header}\n    pass\n")
        except SyntaxError:
            pass
        else:
            return "\n".join([header, *lines, ""])
    return "\n".join([f"def {exercise.entry_point}(*given, **named):", *lines, ""])


def _keep(
    executor: Executor, exercises: Sequence[Exercise], seconds: float, reasons: Counter[str]
) -> list[Exercise]:
    found = keep_what_discriminates(executor, exercises, seconds)
    if n_lost := found.count(None):
        reasons["whose tests do not tell a right answer from an empty one"] += n_lost
    return [each for each in found if each is not None]


def _read(config: TasksConfig, reasons: Counter[str]) -> Iterator[Exercise]:
    seen = set[str]()
    for exercise in _read_all(config, reasons):
        if exercise.id in seen:
            reasons["seen before"] += 1
        else:
            seen.add(exercise.id)
            yield exercise


def _read_all(config: TasksConfig, reasons: Counter[str]) -> Iterator[Exercise]:
    for path in config.sources:
        if path.is_dir() and not (path / ROWS).is_file():
            yield from read_repository(path, config.ask, config.hidden_share)
            continue
        file = path / ROWS if path.is_dir() else path
        for number, row in parse_lines(file):
            where = f"{file} line {number}"
            read = read_published(
                row, where, config.ask, config.hidden_share, all_rows=config.all_rows
            )
            if read is None:
                reasons["rows of MBPP outside its train split (--all-rows)"] += 1
            else:
                yield read
    yield from make_exercises(config.made_up, config.seed, config.ask)


def _identity(path: Path) -> str:
    """Of a folder: its Python files' names, sizes and times; a file's is its content."""
    if not path.exists():
        raise SourceError(f"no file or folder {path}")
    if path.is_file():
        return ""
    digest = hashlib.sha256()
    for file in files_below(path):
        if file.suffix in (".py", ".jsonl"):
            status = file.stat()
            digest.update(
                f"{file.relative_to(path)} {status.st_size} {status.st_mtime_ns}".encode()
            )
    return digest.hexdigest()[:16]
