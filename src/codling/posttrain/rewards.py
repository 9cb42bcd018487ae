"""What an answer is worth: the sandbox's verdict, graded.

Input: Exercises with answers. Output: Assessments, and rewards by the table of a RewardConfig:

    did not parse, did not load or compile, took too long    less than nothing, each its own
    ran and passed no test                                   0
    passed some tests                                        `partial` times their share
    passed all tests                                         1

So an answer earns a reward only for tests that it passed. What reaches for the tests (the sandbox's
tampering) is worth what does not parse. A program that the sandbox lost has no worth, and counts
neither way. Hidden tests are asked for by name, and never here.

Mathematics: 1 if the stated answer equals the right one exactly, else 0.

Not here: the programs (tasks/programs.py), and what is learned from rewards.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, Literal, Self

from codling.core.errors import ConfigError
from codling.core.ranges import Range, Ranged
from codling.grading import math_equal
from codling.grading.extract import extract_boxed, extract_stated, last_number
from codling.grading.fences import find_blocks, strip_thoughts
from codling.posttrain.tasks.exercise import Exercise
from codling.posttrain.tasks.programs import answer_code, is_isolated, parses, program
from codling.sandbox.executor import Executor, Program
from codling.sandbox.outcome import Outcome

Grade = Literal["passed", "failed", "timed out", "not compiled", "not parsed", "tampering", "lost"]
_GRADES: dict[str, Grade] = {
    "passed": "passed",
    "timed out": "timed out",
    "tampering": "tampering",
    "compile error": "not compiled",
    "lost": "lost",
}
"""Grades that an outcome's status gives at once; the others depend on the tests one by one."""
NoReward = Annotated[float, Range(-1, 0)]


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Ranged):
    """What each grade is worth."""

    passed: Annotated[float, Range(0, 100, above=True)] = 1.0
    """All tests passed."""
    partial: Annotated[float, Range(0, 100)] = 0.5
    """Some tests passed: this times their share; less than `passed`."""
    failed: NoReward = 0.0
    """It ran, and passed no test."""
    timed_out: NoReward = -0.1
    """It took longer than `seconds`."""
    not_compiled: NoReward = -0.2
    """It parses, but does not load or compile."""
    not_parsed: NoReward = -0.3
    """It does not parse, or it reaches for the tests."""
    format: Annotated[float, Range(0, 0.1)] = 0.0
    """Taken off where the answer is not in form: a chat answer without exactly one code block, a
    continued text that does not end."""
    seconds: Annotated[float, Range(0.1, 600)] = 4.0
    """Run time of a program with all tests."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.partial >= self.passed:
            raise ConfigError(
                f"partial is {self.partial:g}; passing some tests must be worth less than passing "
                f"all, {self.passed:g}"
            )


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The verdict on one answer."""

    grade: Grade
    share: float = 0.0
    """Of the tests, those that passed."""
    detail: str = ""
    in_form: bool = True

    @property
    def passed(self) -> bool:
        """Whether all tests passed."""
        return self.grade == "passed"


def reward(assessment: Assessment, config: RewardConfig) -> float | None:
    """What the verdict is worth; None if there is none.

    >>> reward(Assessment(grade="failed", share=0.5), RewardConfig())
    0.25
    """
    if assessment.grade == "lost":
        return None
    worth = {
        "passed": config.passed,
        "failed": config.partial * assessment.share if assessment.share else config.failed,
        "timed out": config.timed_out,
        "not compiled": config.not_compiled,
        "not parsed": config.not_parsed,
        "tampering": config.not_parsed,
    }[assessment.grade]
    return worth if assessment.in_form else worth - config.format


@dataclass(frozen=True)
class Said:
    """An answer to an exercise."""

    exercise: Exercise
    text: str
    ended: bool = True
    """Whether it came to its end, or was cut at its length."""


@dataclass
class _Case:
    """An answer on its way to its verdict."""

    said: Said
    tests: Sequence[str]
    code: str = ""
    made: Assessment | None = None
    passed: list[bool] = field(default_factory=list)
    loads: bool = False


class Assessor:
    """Assesses answers in a sandbox; use it in a `with` block."""

    def __init__(self, *, workers: int = 0, seconds: float = 4.0, unsafe: bool = False) -> None:
        self._executor = Executor(workers, unsafe=unsafe)
        self._seconds = seconds

    def __enter__(self) -> Self:
        self._executor.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.__exit__(kind, error, trace)

    def require(self, exercises: Iterable[Exercise]) -> None:
        """ToolMissingError, with the cure, if programs of one of them cannot run here."""
        for language in dict.fromkeys(each.language for each in exercises if each.tests):
            self._executor.require(language)

    def assess(self, answers: Sequence[Said], *, hidden: bool = False) -> list[Assessment]:
        """The verdicts, in order; by the hidden tests alone where `hidden`.

        Equal programs run once. An answer to an exercise without hidden tests is judged by all
        that it has. By hidden tests an answer passes or fails: how many of them passed is not found
        out, which would take a program for each.
        """
        cases = [_Case(said, _tests(said.exercise, hidden)) for said in answers]
        for case in cases:
            self._judge_at_once(case)
        self._run(cases, graded=not hidden)
        return [case.made or _from_tests(case) for case in cases]

    def _judge_at_once(self, case: _Case) -> None:
        """The verdict where no program is needed for it."""
        exercise = case.said.exercise
        if exercise.answer is not None:
            right = self._is_right(exercise.answer, case.said.text)
            case.made = _grade("passed" if right else "failed", case, share=float(right))
            return
        case.code = answer_code(exercise, case.said.text)
        if not parses(exercise, case.code):
            case.made = _grade("not parsed", case)

    def _run(self, cases: Sequence[_Case], *, graded: bool) -> None:
        """All tests of an answer in one program; where that fails and the grade is asked for, each
        in its own."""
        waiting = [case for case in cases if case.made is None]
        wholes = [self._program(case, case.tests) for case in waiting]
        for case, outcome in zip(waiting, self._outcomes(wholes), strict=True):
            if (grade := _GRADES.get(outcome.status)) is not None:
                case.made = _grade(grade, case, share=float(outcome.passed), detail=outcome.detail)
            else:
                case.made = None
        if not graded:
            for case in waiting:
                case.loads = True
            return
        single = [case for case in waiting if case.made is None]
        tests = [(c, [t]) for c in single if len(c.tests) > 1 for t in c.tests]
        programs = [self._program(case, some) for case, some in tests]
        for (case, _), outcome in zip(tests, self._outcomes(programs), strict=True):
            case.passed.append(outcome.passed)
        unsure = [case for case in single if not any(case.passed)]
        for case in unsure:
            case.loads = not is_isolated(case.said.exercise)
        unsure = [case for case in unsure if not case.loads]
        loading = [self._program(case, ()) for case in unsure]
        for case, outcome in zip(unsure, self._outcomes(loading), strict=True):
            case.loads = outcome.passed

    def _program(self, case: _Case, tests: Sequence[str]) -> Program:
        return program(case.said.exercise, case.code, tests, self._seconds, case.said.text)

    def _outcomes(self, programs: Sequence[Program]) -> list[Outcome]:
        """In order; equal programs once, lost ones a second time."""
        keys = [(each.source, tuple(each.files.items())) for each in programs]
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        chosen = sorted(first.values())
        found = {chosen[i]: o for i, o in self._executor.map([programs[i] for i in chosen])}
        lost = [i for i, outcome in found.items() if outcome.status == "lost"]
        found |= {lost[i]: o for i, o in self._executor.map([programs[i] for i in lost])}
        return [found[first[key]] for key in keys]

    def _is_right(self, target: str, text: str) -> bool:
        """Exact equality: as numbers, else as normalised texts."""
        said = strip_thoughts(text)
        got = extract_boxed(said) or extract_stated(said) or last_number(said)
        left, right = (math_equal.normal(each[:300]) for each in (got, target))
        numbers = math_equal.number(left), math_equal.number(right)
        if None not in numbers:
            return numbers[0] == numbers[1]
        return bool(left) and left == right


def is_in_form(said: Said) -> bool:
    """Whether a chat answer has exactly one code block, a continued text its end."""
    if isinstance(said.exercise.prompt, str) or said.exercise.answer is not None:
        return said.ended
    return said.ended and len(find_blocks(strip_thoughts(said.text))) == 1


def _tests(exercise: Exercise, hidden: bool) -> Sequence[str]:
    return (exercise.hidden_tests if hidden else ()) or exercise.tests


def _grade(grade: Grade, case: _Case, *, share: float = 0.0, detail: str = "") -> Assessment:
    return Assessment(grade=grade, share=share, detail=detail, in_form=is_in_form(case.said))


def _from_tests(case: _Case) -> Assessment:
    """The verdict on a program that failed, from its tests one by one."""
    share = sum(case.passed) / len(case.passed) if case.passed else 0.0
    # All pass alone and not together: the answer keeps something from test to test.
    share = min(share, 1 - 1 / max(2, len(case.tests)))
    loads = case.loads or bool(share)
    return _grade("failed" if loads else "not compiled", case, share=share)
