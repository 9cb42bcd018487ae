"""HumanEval+: HumanEval with some 80 times more test inputs (EvalPlus, arXiv:2305.01210).

Data: evalplus/humanevalplus_release/HumanEvalPlus.jsonl. `--subset base` runs only the original
inputs. The expected outputs come from EvalPlus's reference solutions, which run beside the answer.
"""

from dataclasses import replace
from pathlib import Path

from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.prelude import prelude
from codling.evaluate.task import Problem, read_lines
from codling.evaluate.tasks import humaneval
from codling.evaluate.tasks.evalplus_checks import MEMORY_BYTES, program
from codling.sandbox.executor import Program


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The 164 problems with their inputs."""
    path = (
        config.data_file or data_dir / "evalplus" / "humanevalplus_release" / "HumanEvalPlus.jsonl"
    )
    rows = list(read_lines(path))
    if config.subset == "base":
        rows = [row | {"plus_input": []} for row in rows]
    return [Problem(id=row["task_id"], data=row) for row in rows]


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """Answer and reference side by side on all inputs."""
    data = problem.data
    reference = data["prompt"] + data["canonical_solution"]
    return Program(
        language="python",
        source=program(data, prelude(TASK, config) + answer, reference, "humaneval"),
        seconds=config.timeout or 30.0,
        memory_bytes=MEMORY_BYTES,
    )


TASK = replace(
    humaneval.TASK,
    name="humaneval-plus",
    about="HumanEval with EvalPlus's inputs (--subset base: only the original ones)",
    load=load,
    check=check,
    one_file=True,
    imports="none",
    takes=("subset",),
)
