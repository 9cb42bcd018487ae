"""MBPP+: the well-formed problems of MBPP with many more test inputs (EvalPlus, arXiv:2305.01210).

Data: evalplus/mbppplus_release/MbppPlus.jsonl (378 problems); `--subset base` runs only the
original inputs. The prompt is the problem's docstring with one assertion, as EvalPlus asks.
"""

from pathlib import Path

from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.prelude import prelude
from codling.evaluate.task import Problem, Prompt, Sampling, Task, ask, read_lines
from codling.evaluate.tasks.evalplus_checks import MEMORY_BYTES, program
from codling.grading.extract import cut_at
from codling.grading.python_code import python_program
from codling.sandbox.executor import Program

INSTRUCTION = (
    "Write Python code that solves the following problem. Reply with one code block that can be "
    "run by itself.\n```python\n{prompt}\n```"
)
_STOPS = ('\n"""', "\nif __name__", "\nprint", "\nassert", "\n```", "\n# Test")
_TYPES = (
    ((2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726,
      740, 744, 809), "[tuple(x) for x in i]"),
    ((63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780),
     "[[tuple(y) for y in x] for x in i]"),
    ((75, 413, 444, 753), "[[tuple(x) for x in i[0]], i[1]]"),
    ((106, 750), "[i[0], tuple(i[1])]"),
    ((115,), "[[set(x) if isinstance(x, list) and x else {} for x in i[0]]]"),
    ((124,), "[float(i[0]), complex(i[1])]"),
    ((250, 405, 446, 617, 720, 763, 808), "[tuple(i[0]), i[1]]"),
    ((259, 401, 445), "[tuple(tuple(y) for y in x) for x in i]"),
    ((278,), "[tuple(tuple(x) if isinstance(x, list) else x for x in i[0])]"),
    ((307,), "[tuple(i[0]), i[1], i[2]]"),
    ((722,), "[{k: tuple(v) for k, v in i[0].items()}, *i[1:]]"),
    ((252,), "[complex(i[0])]"),
    ((580, 615, 791), "(lambda f, x: f(f, x))(lambda f, x: "
     "tuple(f(f, y) for y in x) if isinstance(x, list) else x, i)"),
)  # fmt: skip
"""Problems whose arguments are tuples, sets or complex numbers, by EvalPlus's numbering."""


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The problems with their inputs."""
    path = data_dir / "evalplus" / "mbppplus_release" / "MbppPlus.jsonl"
    rows = list(read_lines(config.data_file or path))
    if config.subset == "base":
        rows = [row | {"plus_input": []} for row in rows]
    return [Problem(id=row["task_id"], data=row) for row in rows]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """The docstring with its assertion, to be continued or answered."""
    text = problem.data["prompt"].strip() + "\n"
    return Prompt(text=text) if config.style == "base" else ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:
    """The code up to the next test, or the code block."""
    if style == "base":
        return cut_at(text, _STOPS)
    return python_program(text, problem.data["entry_point"])


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """Answer and reference side by side on all inputs."""
    data = problem.data
    source = program(
        data,
        prelude(TASK, config) + answer,
        data["canonical_solution"],
        "mbpp",
        _restore(int(data["task_id"].split("/")[1])),
    )
    return Program(
        language="python", source=source, seconds=config.timeout or 30.0, memory_bytes=MEMORY_BYTES
    )


def _restore(number: int) -> str:
    """An expression that gives inputs back the types which JSON cannot hold."""
    return next((f"[{code} for i in inputs]" for ids, code in _TYPES if number in ids), "inputs")


TASK = Task(
    name="mbpp-plus",
    about="378 problems of MBPP with EvalPlus's inputs (--subset base: only the original ones)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    version=2,
    sampling=lambda _problem, style: (
        Sampling(max_tokens=512, stop=_STOPS) if style == "base" else Sampling(max_tokens=1024)
    ),
    canonical=lambda problem: str(problem.data["canonical_solution"]),
    takes=("subset",),
)
