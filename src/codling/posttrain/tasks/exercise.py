"""An exercise: a prompt, and what decides whether an answer to it is right.

Input: a row of JSON Lines, as `codling data tasks` writes it and people may write it themselves:

    {"id": "add", "prompt": "def add(a, b):\\n", "begin": "def add(a, b):\\n", "entry_point": "add",
     "tests": ["assert add(1, 2) == 3"], "hidden_tests": ["assert add(2, 2) == 4"]}
    {"id": "sum", "prompt": [{"role": "user", "content": "What is 1 + 2?"}], "answer": "3"}

Output: an Exercise. `tests` decide the reward; `hidden_tests` are for evaluation alone.

Not here: where rows come from (published.py, repository.py), and verdicts (posttrain/rewards.py).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.core.files import stays_below
from codling.core.foreign_json import parse_lines
from codling.grading.python_code import is_python


@dataclass(frozen=True, kw_only=True)
class RepositoryModule:
    """A module of a repository with a hole where the answer's function goes."""

    path: str
    before: str
    after: str
    files: Mapping[str, str] = field(default_factory=dict)
    """The repository's other modules."""

    @property
    def name(self) -> str:
        """The name by which it is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One prompt with what decides about its answers."""

    id: str
    prompt: str | tuple[Mapping[str, str], ...]
    """A text to be continued, or the messages of a chat."""
    language: str = "python"
    entry_point: str = ""
    """The function that the tests call."""
    begin: str = ""
    """With a text to be continued: what of it belongs to the program; in a chat: the header that
    answers leave out."""
    stop: tuple[str, ...] = ()
    """Where a continued text ends."""
    tests: tuple[str, ...] = ()
    """Python: statements that fail if the answer is wrong. Other languages: what follows the answer
    in its program."""
    hidden_tests: tuple[str, ...] = ()
    """The same, never used for a reward."""
    setup: str = ""
    """Python: what precedes the tests; the answer does not see it."""
    answer: str | None = None
    """Mathematics: the right answer, in place of tests."""
    group: str = ""
    """Exercises of one group are held out together; by default each is its own."""
    solution: str | None = None
    """An answer that is right, as a whole program."""
    module: RepositoryModule | None = None
    """For a function of a repository: where it stands."""

    @property
    def kin(self) -> str:
        """What it is held out with."""
        return self.group or self.id


def is_held_out(exercise: Exercise, share: float, seed: int, aim: str = "") -> bool:
    """Whether an exercise is of the `share` that nothing is learned from: by its group's name, and
    for every `aim` anew."""
    digest = hashlib.sha256(f"{aim}{seed} {exercise.kin}".encode()).digest()
    return int.from_bytes(digest[:7]) / (1 << 56) < share


def read_exercises(path: Path) -> Iterator[Exercise]:
    """The rows of a file or of an artefact of kind "tasks"; SourceError names the line."""
    file = path / "tasks.jsonl" if path.is_dir() else path
    for number, row in parse_lines(file):
        yield read_exercise(row, f"{file} line {number}")


def read_exercise(row: object, where: str) -> Exercise:
    """An exercise from a row in the form above; SourceError says what is wrong, and `where`."""
    if not isinstance(row, Mapping):
        raise SourceError(f"{where} is no object")
    prompt = row.get("prompt")
    messages = _messages(prompt)
    if not isinstance(prompt, str) and not messages:
        raise SourceError(f"{where}: prompt is neither a text nor a list of messages")
    texts = {key: _read_text(row, key, where) for key in _TEXTS if row.get(key) is not None}
    lists = {key: _read_texts(row, key, where) for key in _LISTS if row.get(key) is not None}
    made = Exercise(
        prompt=prompt if isinstance(prompt, str) else messages,
        id=str(row.get("id") or where),
        module=_read_module(row, where),
        **texts,  # type: ignore[arg-type]
        **lists,  # type: ignore[arg-type]
    )
    if made.answer is None and not made.tests:
        raise SourceError(f"{where} has neither tests nor an answer")
    if made.tests and made.language in _CALLS_A_FUNCTION and not made.entry_point:
        raise SourceError(f"{where}: entry_point, the function that the tests call, is missing")
    if fault := _find_fault(made):
        raise SourceError(f"{where}: {fault}")
    return made


def to_row(exercise: Exercise) -> dict[str, Any]:
    """The row of an exercise, without what is empty."""
    return {key: value for key, value in asdict(exercise).items() if value not in ("", (), None)}


def _find_fault(made: Exercise) -> str:
    """Why no answer could be given, or pass; empty for a sound exercise."""
    if not made.prompt:
        return "prompt is empty"
    if made.answer is not None and made.answer.strip().lower() in ("", "nan"):
        return "answer is empty, or no number"
    if made.language in _CALLS_A_FUNCTION and made.answer is None:
        parts: dict[str, tuple[str, ...]] = {
            "entry_point": (made.entry_point,), "setup": (made.setup,),
            "tests": made.tests, "hidden_tests": made.hidden_tests,
        }  # fmt: skip
        faulty = (name for name, texts in parts.items() if not all(map(is_python, texts)))
        if name := next(faulty, None):
            return f"{name} is no Python that can be parsed"
        if not any(map(str.strip, made.tests)):
            return "tests are blank"
    return ""


_TEXTS = ("language", "entry_point", "begin", "setup", "answer", "group", "solution")
_LISTS = ("stop", "tests", "hidden_tests")
_CALLS_A_FUNCTION = ("python",)


def _messages(value: object) -> tuple[Mapping[str, str], ...]:
    """The turns of a chat; none if it is something else."""
    turns = tuple(value) if isinstance(value, list) else ()
    fits = all(
        isinstance(turn, Mapping)
        and isinstance(turn.get("role"), str)
        and isinstance(turn.get("content"), str)
        for turn in turns
    )
    return turns if fits else ()


def _read_text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row[key]
    if key == "answer" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise SourceError(f"{where}: {key} is not a text")
    return value


def _read_texts(row: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = row[key]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise SourceError(f"{where}: {key} is not a list of texts")
    return tuple(value)


def _read_module(row: Mapping[str, Any], where: str) -> RepositoryModule | None:
    value = row.get("module")
    if value is None:
        return None
    keys = ("path", "before", "after")
    files = value.get("files", {}) if isinstance(value, Mapping) else None
    if not isinstance(files, Mapping) or not all(
        isinstance(each, str)
        for each in (*(value.get(key) for key in keys), *files, *files.values())
    ):
        raise SourceError(f"{where}: module needs the texts path, before and after, and files")
    for name in (value["path"], *files):
        if not name or not stays_below(name):
            raise SourceError(f"{where}: {name[:60]!r} is no path inside of a repository")
    return RepositoryModule(**{key: value[key] for key in keys}, files=dict(files))
