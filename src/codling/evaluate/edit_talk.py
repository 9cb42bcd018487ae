"""The talk of Aider's benchmarks: instructions and files, an answer with edits, the failed tests'
output, a second answer.

Input: exercises. Output: problems, prompts, and the program that decides about all edits so far.
The wording is ours, the order of things is Aider's.

Not here: edit formats (edit_formats.py) and running (exercise_tests.py).
"""

import json
from collections.abc import Sequence
from pathlib import Path

from codling.core.errors import ConfigError
from codling.core.foreign_json import parse
from codling.evaluate.compiled_tests import rust_crates
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.edit_formats import apply_pieces, apply_whole
from codling.evaluate.exercise_tests import test_program
from codling.evaluate.exercises import EditExercise, read_exercises
from codling.evaluate.task import Problem, Prompt, Turn, Verdict
from codling.grading.fences import strip_thoughts
from codling.sandbox.executor import Program

_N_LINES = 50
"""Lines of the tests' output that the second prompt shows."""
_FORMS = {
    "whole": "Reply with every changed file: a line with its name alone, then the whole file in a "
    "code block.",
    "diff": "Reply with blocks of changes. Before each a line with the file's name alone; then in "
    "a code block: <<<<<<< SEARCH, the lines as they are, =======, the new lines, >>>>>>> REPLACE.",
}
_TASK = (
    "{instructions}\n\nChange the files below by these instructions. Keep the names of functions "
    "and classes: tests use them. Use the standard library only.\n\n{files}\n\n{form}"
)
_AGAIN = (
    "{output}\n\nThese tests failed. They are right: do not change them. Fix the code in {names}."
)


def load(data_dir: Path, config: BenchmarkConfig, folder: str) -> list[Problem]:
    """The exercises by language."""
    if config.subset not in ("", *_FORMS):
        raise ConfigError(f"no subset {config.subset}; choose one of {', '.join(_FORMS)}")
    found = read_exercises(data_dir / folder)
    return [
        Problem(
            id=f"{each.language}/{each.name}" if folder == "aider-polyglot" else each.name,
            group=each.language,
            data={**vars(each), "form": config.subset or "whole"},
        )
        for each in found
        if not config.language or each.language == config.language
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:  # noqa: ARG001
    """Instructions, files, and the form of the answer."""
    exercise = _exercise(problem)
    files = "\n\n".join(f"{name}\n```\n{text}\n```" for name, text in exercise.stubs.items())
    form = _FORMS[problem.data["form"]]
    text = _TASK.format(instructions=exercise.instructions, files=files, form=form)
    return Prompt(messages=({"role": "user", "content": text},))


def follow_up(problem: Problem, turns: Sequence[Turn], config: BenchmarkConfig) -> Prompt | None:
    """After a failure the tests' output, once."""
    if turns[-1].passed or len(turns) == 2:
        return None
    output = "\n".join((turns[0].output or turns[0].detail).splitlines()[:_N_LINES])
    again = _AGAIN.format(output=output, names=", ".join(problem.data["stubs"]))
    said = {"role": "assistant", "content": turns[0].text}
    first = prompt(problem, config).messages or ()
    return Prompt(messages=(*first, said, {"role": "user", "content": again}))


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """What was said, without thoughts: edits are read when they are applied."""
    return strip_thoughts(text)


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """The tests on the files after the edits of all attempts, one after the other."""
    exercise = _exercise(problem)
    files: dict[str, str] = dict(exercise.stubs)
    is_formed = False
    apply = apply_pieces if problem.data["form"] == "diff" else apply_whole
    for said in parse(answer, problem.id) if answer else []:
        edited = apply(said, files)
        is_formed = edited is not None
        files = edited if edited is not None else files
    if not is_formed and files == dict(exercise.stubs):
        return Verdict(detail="no edit that fits")
    seconds, strict = config.timeout or 180.0, config.verdicts == "strict"
    return test_program(exercise, files, seconds, strict)


def canonical(problem: Problem) -> str | None:
    """The example solution as whole files, or as one piece for each; none if it needs other crates
    than the exercise."""
    example = problem.data["example"]
    if not example or rust_crates(example.get("Cargo.toml", "")):
        return None
    if problem.data["form"] == "whole":
        edits = [f"{name}\n```\n{text}\n```" for name, text in example.items()]
    else:
        stubs = problem.data["stubs"]
        edits = [
            "\n".join((name, "<<<<<<< SEARCH", stubs.get(name, ""), "=======", text))
            + "\n>>>>>>> REPLACE"
            for name, text in example.items()
        ]
    return join(["\n\n".join(edits)])


def join(answers: Sequence[str]) -> str:
    """All attempts as one text."""
    return json.dumps(list(answers), ensure_ascii=False)


def _exercise(problem: Problem) -> EditExercise:
    return EditExercise(**{k: v for k, v in problem.data.items() if k != "form"})
