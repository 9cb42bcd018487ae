"""HumanEval infilling: one line, several lines, or a random span of a solution is hidden
(arXiv:2207.14255).

Data: humaneval-infilling/*.jsonl; `--subset single-line` (the default), multi-line, random-span or
random-span-light. Judged by HumanEval's tests.
"""

from pathlib import Path

from codling.core.errors import ConfigError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.prelude import prelude
from codling.evaluate.task import Problem, Prompt, Sampling, Task, read_lines
from codling.grading.isolated_tests import isolate_tests
from codling.sandbox.executor import Program

SUBSETS = {
    "single-line": "SingleLine",
    "multi-line": "MultiLine",
    "random-span": "RandomSpan",
    "random-span-light": "RandomSpanInfillingLight",
}


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The problems of one subset."""
    subset = config.subset or "single-line"
    if subset not in SUBSETS:
        raise ConfigError(f"no subset {subset}; choose one of {', '.join(SUBSETS)}")
    name = SUBSETS[subset].removesuffix("InfillingLight")
    light = "Light" if SUBSETS[subset].endswith("Light") else ""
    path = (
        config.data_file
        or data_dir / "humaneval-infilling" / f"HumanEval-{name}Infilling{light}.jsonl"
    )
    return [Problem(id=row["task_id"], data={**row, "subset": subset}) for row in read_lines(path)]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:  # noqa: ARG001
    """The hole."""
    return Prompt(hole=(problem.data["prompt"], problem.data["suffix"]))


def extract(problem: Problem, text: str, style: Style) -> str:  # noqa: ARG001
    """The text as it is; of a single line only the first that is not blank."""
    if problem.data["subset"] != "single-line":
        return text
    return next((line + "\n" for line in text.split("\n") if line.strip()), "\n")


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Program:
    """Prefix, answer and suffix, then HumanEval's tests."""
    data = problem.data
    whole = prelude(TASK, config) + data["prompt"] + answer + data["suffix"]
    plain = f"{whole}\n{data['test']}\ncheck({data['entry_point']})\n"
    is_strict = config.verdicts == "strict"
    return Program(
        language="python",
        source=isolate_tests(whole, data["test"], data["entry_point"]) if is_strict else plain,
        answer=whole,
        seconds=config.timeout or 10.0,
        strict=is_strict,
    )


TASK = Task(
    name="humaneval-infilling",
    about="hidden lines or spans of HumanEval's solutions (--subset single-line, multi-line ...)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    one_file=True,
    version=2,
    sampling=lambda problem, _style: Sampling(
        max_tokens=64 if problem.data["subset"] == "single-line" else 256
    ),
    canonical=lambda problem: str(problem.data["canonical_solution"]),
    takes=("subset",),
)
