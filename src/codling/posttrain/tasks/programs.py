"""From an answer to the programs that decide about it.

Input: an Exercise and what a model said. Output: the answer's code, and sandbox Programs: one with
all tests, one per test, one that only loads the answer. Python's tests run where the answer does
not reach (grading/isolated_tests.py), and only the sandbox's proof that a program ran to its end
counts, so nothing that an answer prints, writes or replaces adds a test that passed.

Not here: what the programs' outcomes are worth (posttrain/rewards.py).
"""

import ast
import textwrap
from collections.abc import Callable, Sequence

from codling.grading.chat_code import chat_program
from codling.grading.extract import cut_at
from codling.grading.isolated_tests import isolate_tests
from codling.grading.python_code import is_python, python_answer, strip_demonstrations
from codling.posttrain.tasks.exercise import Exercise
from codling.sandbox.executor import Program

_NOTHING = "pass"
_PATCH = "import {module} as _module\n_module.{name} = {name}\n"
"""Whatever name a test uses for a repository's function, it gets the guarded one."""


def answer_code(exercise: Exercise, text: str) -> str:
    """The program, or for a repository the function, that `text` stands for."""
    if not is_isolated(exercise):
        return exercise.begin + cut_at(text, exercise.stop) if _continues(exercise) else text
    if not _continues(exercise):
        return python_answer(text, exercise.begin, exercise.entry_point)
    code = exercise.begin + cut_at(text.replace("[BEGIN]", ""), exercise.stop)
    return code if exercise.module else strip_demonstrations(code, exercise.entry_point)


def program(
    exercise: Exercise, code: str, tests: Sequence[str], seconds: float, text: str = ""
) -> Program:
    """The program that passes if `code` passes all of `tests`; without tests, if it loads.

    `text` is what the model said, from which programs of other languages are made.
    """
    compose = _ISOLATES.get(exercise.language, _join)
    files = {} if exercise.module is None else _files(exercise, code)
    return Program(
        language=exercise.language,
        source=compose(exercise, code, tests, text),
        answer=code,
        seconds=seconds,
        files=files,
    )


def parses(exercise: Exercise, code: str) -> bool:
    """Whether Python's parser takes the code; other languages' compilers say so themselves."""
    return not is_isolated(exercise) or is_python(code)


def is_isolated(exercise: Exercise) -> bool:
    """Whether its tests run where the answer does not reach, and the answer may be loaded alone."""
    return exercise.language in _ISOLATES


def write_check(setup: str, tests: Sequence[str]) -> str:
    """The source of tests as isolate_tests takes it: a function `check`.

    >>> print(write_check("", ["assert f(1) == 2"]))
    <BLANKLINE>
    def check(candidate):
        assert f(1) == 2
    <BLANKLINE>
    """
    body = "\n".join(ast.unparse(ast.parse(test)) for test in tests) or _NOTHING
    return f"{setup}\ndef check(candidate):\n{textwrap.indent(body, '    ')}\n"


def _isolate(exercise: Exercise, code: str, tests: Sequence[str], _text: str) -> str:
    setup = exercise.setup if tests else ""
    if exercise.module is None:
        return isolate_tests(code, write_check(setup, tests), exercise.entry_point)
    module, name = exercise.module.name, exercise.entry_point
    patched = [_PATCH.format(module=module, name=name), *tests]
    return isolate_tests(f"from {module} import {name}\n", write_check(setup, patched), name)


def _join(exercise: Exercise, code: str, tests: Sequence[str], text: str) -> str:
    followed = "\n".join(tests)
    if _continues(exercise):
        return f"{code}\n{followed}\n"
    return chat_program(exercise.begin, text, exercise.language, followed)


_ISOLATES: dict[str, Callable[[Exercise, str, Sequence[str], str], str]] = {"python": _isolate}
"""Languages whose tests run where the answer does not reach."""


def _continues(exercise: Exercise) -> bool:
    return isinstance(exercise.prompt, str)


def _files(exercise: Exercise, code: str) -> dict[str, str]:
    """The repository's modules, with the answer's function in its place."""
    assert exercise.module is not None
    module = exercise.module
    whole = f"{module.before}{code.rstrip()}\n{module.after}"
    return {**module.files, module.path: whole}
