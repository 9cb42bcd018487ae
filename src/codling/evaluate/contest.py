"""Contest problems: programs that read stdin, or functions and methods that are called.

Input: a problem's cases as benchmarks publish them. Output: the Program that runs an answer on all
of them. A called function gets its arguments from stdin and prints its result, so that what is
expected stays outside of the sandbox.

Not here: comparing outputs (sandbox/cases.py).
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from codling.evaluate.prelude import COMMON_IMPORTS
from codling.sandbox.cases import RunCase
from codling.sandbox.executor import Program

IMPORTS = COMMON_IMPORTS + (
    "import random, bisect, operator, statistics\nfrom heapq import *\nfrom bisect import *\n"
    "from itertools import *\nfrom functools import *\nfrom math import *\n"
)
"""What contest answers take for granted; LiveCodeBench's and APPS's runners bring these."""
_CALL = """
if __name__ == "__main__":
    import json as _json, sys as _sys
    _call = globals()["Solution"]().{name} if "Solution" in globals() else {name}
    _arguments = [_json.loads(line) for line in _sys.stdin.read().split("\\n") if line.strip()]
    _sys.stdout.write("\\n" + _json.dumps(_call(*_arguments), default=list) + "\\n")
"""


Pairs = Sequence[tuple[str, Sequence[str]]]
"""Inputs, and the outputs that are right for each."""


def run_on_stdin(
    answer: str, pairs: Pairs, seconds: float, language: str = "python", near: float = 0.0
) -> Program:
    """The program on each input; numbers in its lines may differ by `near`."""
    cases = tuple(RunCase(stdin=stdin, expected=tuple(right), near=near) for stdin, right in pairs)
    program = Program(language=language, source=answer, answer=answer, seconds=seconds, cases=cases)
    if program.needs_toolchain:
        return program
    return replace(program, source=f"{IMPORTS}\n{answer}\n")


def run_by_calls(
    answer: str, name: str, pairs: Sequence[tuple[str, str]], seconds: float
) -> Program:
    """The function `name`, or the method of `Solution`, on lines of JSON arguments."""
    cases = tuple(RunCase(stdin=lines, expected=(right,), form="json") for lines, right in pairs)
    source = f"{IMPORTS}\n{answer}\n{_CALL.format(name=name)}"
    return Program(language="python", source=source, answer=answer, seconds=seconds, cases=cases)


def as_lines(arguments: Sequence[Any]) -> str:
    """Arguments as `run_by_calls` wants them: a line of JSON for each."""
    return "\n".join(json.dumps(each) for each in arguments)
