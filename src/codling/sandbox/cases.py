"""Programs that are judged by what they print: contest programs that read stdin.

Input: the cases of a program, and what its runs did. Output: an Outcome. What is expected stays
outside of the box, so the program cannot read it; it passes if it ends with status 0 and prints the
right thing for every case.

Not here: the running (executor.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Literal

from codling.core.errors import SourceError
from codling.core.foreign_json import parse_row
from codling.sandbox.box import Job, Reply
from codling.sandbox.outcome import Outcome, judge


@dataclass(frozen=True, kw_only=True)
class RunCase:
    """An input, and what may be printed for it."""

    stdin: str
    expected: tuple[str, ...]
    form: Literal["text", "json"] = "text"
    """What is compared: lines, or the value on the last line."""
    near: float = 0.0
    """Difference, relative or absolute, within which numbers in lines are equal."""


def judge_cases(job: Job, reply: Reply, cases: Sequence[RunCase], n_before: int) -> Outcome:
    """The verdict; `n_before` steps (compiling) came before the first case."""
    done = reply.steps[n_before:]
    for number, (case, step) in enumerate(zip(cases, done, strict=False), 1):
        if step.exit != 0 or step.timed_out or step.flooded:
            break
        if not is_expected(step.stdout, case):
            said = " ".join(step.stdout.split())[:60] or "nothing"
            seconds = sum(each.seconds for each in done)
            detail = f"wrong output for case {number} of {len(cases)}: {said}"
            return Outcome(status="failed", detail=detail, stdout=step.stdout, seconds=seconds)
    found = judge(job, reply, lambda step: step.exit == 0)
    if found.status == "compile error" and len(reply.steps) > n_before:
        found = replace(found, status="failed")
    return replace(found, seconds=sum(each.seconds for each in done))


def is_expected(said: str, case: RunCase) -> bool:
    """Whether an output is one of those expected.

    >>> is_expected("1 2 \\n", RunCase(stdin="", expected=("1 2",)))
    True
    >>> is_expected("0.3333333", RunCase(stdin="", expected=("0.33333331",), near=1e-6))
    True
    >>> is_expected("log\\n[1, 2]", RunCase(stdin="", expected=("[1,2]",), form="json"))
    True
    """
    if case.form == "json":
        return any(_same_value(said, each) for each in case.expected)
    return any(_same_lines(said, each, case.near) for each in case.expected)


def _same_lines(said: str, expected: str, near: float) -> bool:
    """Line by line without blanks at the ends; lines of numbers by their values."""
    lines, wanted = said.strip().split("\n"), expected.strip().split("\n")
    if len(lines) != len(wanted):
        return False
    pairs = [(a.strip(), b.strip()) for a, b in zip(lines, wanted, strict=True)]
    return all(a == b or _same_numbers(a, b, near) for a, b in pairs)


def _same_numbers(said: str, expected: str, near: float) -> bool:
    try:
        numbers, wanted = ([Decimal(word) for word in side.split()] for side in (said, expected))
    except InvalidOperation:
        return False
    if len(numbers) != len(wanted):
        return False
    pairs = list(zip(numbers, wanted, strict=True))
    return all(a == b or math.isclose(a, b, rel_tol=near, abs_tol=near) for a, b in pairs)


def _same_value(said: str, expected: str) -> bool:
    last = said.strip().rpartition("\n")[2]
    try:
        return bool(_plain(parse_row(last, "output")) == _plain(parse_row(expected, "expected")))
    except SourceError:
        return last.strip() == expected.strip()


def _plain(value: object) -> object:
    """A value in which 1.0 and 1 are one and decimals are rounded, in lists too."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value
