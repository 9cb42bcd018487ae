"""Programs that run an exercise's hidden tests on edited files, in the languages that this sandbox
has: Python (unittest) and C++ (Catch, in one translation unit).

Input: an exercise, its files after the edits. Output: a Program, or why there is none.

Not here: exercises themselves (exercises.py).
"""

import re
from collections.abc import Mapping

from codling.evaluate.exercises import EditExercise
from codling.evaluate.task import Verdict
from codling.sandbox.executor import Program

_RUN = """
import sys, unittest
sys.path.insert(0, ".")
_tests = unittest.TestSuite(
    unittest.defaultTestLoader.loadTestsFromName(name) for name in {names!r}
)
_result = unittest.TextTestRunner(verbosity=1).run(_tests)
assert _result.testsRun and _result.wasSuccessful(), "tests failed"
"""
_CATCH = """#define EXERCISM_RUN_ALL_TESTS
#define CATCH_CONFIG_MAIN
#include "catch.hpp"
"""
_IN_ONE_UNIT = frozenset({"cpp"})
_ABSENT = {
    "go": "no module mode in the sandbox",
    "java": "no JUnit and Gradle here",
    "javascript": "no Jest here",
    "rust": "no cargo in the sandbox",
}


def test_program(
    exercise: EditExercise, edited: Mapping[str, str], seconds: float, strict: bool
) -> Program | Verdict:
    """The tests of `exercise` on the files `edited`."""
    answer = "\n".join(edited.values())
    if exercise.language in _ABSENT:
        return Verdict(skipped=True, detail=_ABSENT[exercise.language])
    files = {**exercise.others, **edited, **exercise.tests}
    if exercise.language in _IN_ONE_UNIT:
        source = _one_unit(exercise, edited)
        flat = {name.rpartition("/")[2]: _flat(text) for name, text in files.items()}
        return Program(
            language="cpp", source=source, answer=answer, seconds=seconds, strict=strict, files=flat
        )
    names = [name.removesuffix(".py") for name in exercise.tests if name.endswith(".py")]
    kept = {name: text for name, text in files.items() if "/" not in name}
    return Program(
        language="python", source=_RUN.format(names=names), answer=answer, seconds=seconds,
        strict=strict, files=kept,
    )  # fmt: skip


def _one_unit(exercise: EditExercise, edited: Mapping[str, str]) -> str:
    """Catch's main, the solution and the tests, each included."""
    parts = [name for name in (*edited, *exercise.tests) if name.endswith((".cpp", ".cc"))]
    parts = [name for name in parts if "tests-main" not in name]
    included = "".join(f'#include "{name.rpartition("/")[2]}"\n' for name in parts)
    return f"{_CATCH}{included}"


def _flat(text: str) -> str:
    return re.sub(r'#include "(?:[\w.]+/)+', '#include "', text)
