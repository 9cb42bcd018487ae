"""BigCodeBench-Hard: 148 tasks that use many libraries (arXiv:2406.15877).

Data: bigcodebench/bigcodebench_hard.json ({id: row}). Base models complete `complete_prompt`, chats
follow `instruct_prompt`; as published ("calibrated"), what the answer lacks of `code_prompt` is put
before it. All tests of the row's unittest class must pass. A row whose libraries are not installed,
or whose tests use the network, is not run (bigcodebench_needs.py).
"""

from pathlib import Path

from codling.core.foreign_json import read_object
from codling.evaluate.bigcodebench_needs import missing_here
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask
from codling.grading.extract import extract_block
from codling.sandbox.executor import Program
from codling.sandbox.interpreter import find_interpreter

INSTRUCTION = "{prompt}"
_STOPS = ("\nclass ", "\nif __name__", "\nprint(", "\n# Test", "\n```", "\nassert ")
_FRESH = """
import sys as _sys
for _name in [name for name in _sys.modules if name.partition(".")[0] == "unittest"]:
    del _sys.modules[_name]
"""
"""What an answer has changed in unittest does not reach the tests."""
_RUN = """
import unittest as _unittest
_tests = _unittest.defaultTestLoader.loadTestsFromTestCase(TestCases)
_result = _unittest.TextTestRunner(verbosity=0).run(_tests)
assert _result.testsRun and _result.wasSuccessful(), "tests failed"
"""


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 148 tasks."""
    rows = read_object(config.data_file or data_dir / "bigcodebench" / "bigcodebench_hard.json")
    return [Problem(id=name, data=row) for name, row in rows.items()]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Code to complete, or an instruction in a chat."""
    if config.style == "base":
        return Prompt(text=problem.data["complete_prompt"])
    return ask(INSTRUCTION, config, prompt=problem.data["instruct_prompt"])


def extract(problem: Problem, text: str, style: Style) -> str:
    """A whole program, calibrated."""
    if style == "base":
        cut = text[: min((at for s in _STOPS if (at := text.find(s)) >= 0), default=len(text))]
        return str(problem.data["complete_prompt"] + cut)
    return calibrate(extract_block(text), problem.data["code_prompt"])


def calibrate(answer: str, code_prompt: str) -> str:
    """The answer, behind the imports and constants of the prompt with a stub of the function."""
    return f"{code_prompt}\n    pass\n{answer}" if answer.strip() else ""


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program | Verdict:
    """The answer, the tests, and a runner of them; foreign answers are calibrated here."""
    if not answer.strip():
        return Verdict(detail="no answer")
    start = str(problem.data.get("code_prompt", ""))
    if any(line not in answer for line in start.splitlines()):
        answer = calibrate(answer, start)
    if missing := missing_here(problem.id, problem.data, find_interpreter(config.python)):
        return Verdict(skipped=True, detail=missing)
    return Program(
        language="python",
        source=f"{answer}\n{_FRESH}\n{problem.data['test']}\n{_RUN}",
        answer=answer,
        seconds=config.timeout or 240.0,
        memory_bytes=6 << 30,
        strict=config.verdicts == "strict",
        proc=True,
    )


TASK = Task(
    name="bigcodebench-hard",
    about="148 tasks with many libraries, unittest decides (see doctor for the environment)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    whole=lambda problem, completion: str(problem.data["complete_prompt"] + completion),
    canonical=lambda problem: problem.data["complete_prompt"] + problem.data["canonical_solution"],
    sampling=lambda _problem, style: Sampling(
        max_tokens=1280, stop=_STOPS if style == "base" else ()
    ),
    takes=(),
)
