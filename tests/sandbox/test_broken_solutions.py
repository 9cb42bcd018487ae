"""Deliberately broken solutions fail for the right reason, and the report's detail names it."""

import re
from collections.abc import Iterator

import pytest

from codling.core.errors import ToolMissingError
from codling.sandbox.executor import Executor, Program
from sandbox.test_language_toolchains import PROGRAMS

PYTHON = "def twice(x):\n    BODY\nassert twice(2) == 4, 'not 4'\n"
BROKEN = [
    # language, body of `twice`, status, what the detail names
    ("python", "return x", "failed", "AssertionError: not 4"),
    ("python", "return X", "failed", "NameError: name 'X'"),
    ("python", "return (x", "failed", "SyntaxError"),
    ("python", "return twice(x)", "failed", "RecursionError"),
    ("python", "return [0] * 10**12", "out of memory", ""),
    ("python", "while True: pass", "timed out", "after 1 s"),
    ("python", "raise SystemExit(0)", "left early", "status 0"),
    ("python", "import faulthandler; faulthandler._sigsegv()", "killed", "segmentation fault"),
    ("cpp", "return x;", "killed", "abort"),
    ("cpp", "return y;", "compile error", "y. was not declared"),
    ("cpp", "return *(long*)0;", "killed", "segmentation fault"),
    ("cpp", "for (volatile long i = 0;; i++);", "timed out", "after 1 s"),
    ("js", "return x;", "failed", "AssertionError"),
    ("js", "return y;", "failed", "ReferenceError: y is not defined"),
    ("js", "for (;;);", "timed out", "after 1 s"),
    ("ts", "return 'four';", "compile error", "not assignable to type 'number'"),
    ("ts", "return x;", "failed", "AssertionError"),
    ("php", "return $x;", "failed", "Test failed!"),
    ("php", "return twoTimes($x);", "failed", r"undefined function twoTimes\(\)"),
    ("sh", "echo $1", "failed", "exit status 1"),
    ("sh", "twotimes $1", "failed", "twotimes: command not found"),
    ("java", "return x;", "failed", "AssertionError"),
    ("java", "return y;", "compile error", "cannot find symbol"),
    ("cs", "return x;", "failed", "Fail"),
    ("cs", "return y;", "compile error", "The name `y' does not exist"),
    ("go", "return x", "failed", "FAIL: TestTwice"),
    ("rs", "x", "failed", "panicked at"),
    ("rb", "x", "failed", "Failure: test_twice"),
    ("pl", "return $x;", "failed", "exit status 1"),
]


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with Executor(1) as executor:
        yield executor


@pytest.mark.long
@pytest.mark.parametrize(
    ("language", "body", "status", "detail"),
    [
        pytest.param(*row, marks=pytest.mark.slow)
        if row[0] in ("cs", "go", "rs", "rb", "java")
        else row
        for row in BROKEN
    ],
)
def test_a_broken_solution_fails_for_its_reason(executor, language, body, status, detail):
    try:
        executor.require(language)
        source = (PYTHON if language == "python" else PROGRAMS[language]).replace("BODY", body)
        seconds = 1.0 if status == "timed out" else 60.0
        outcome = executor.run(Program(language=language, source=source, seconds=seconds))
    except ToolMissingError as error:
        pytest.skip(str(error))
    assert outcome.status == status, outcome
    assert re.search(detail, outcome.detail), outcome.detail
