"""THE BENCHMARKS, by name: each is one file with a `TASK`, and one line here.

Not here: the harness that asks a model and counts (evaluate/harness.py).
"""

import difflib
import importlib
import importlib.util
from pathlib import Path

from codling.core.errors import ConfigError, SourceError
from codling.evaluate.task import Task

TASKS = {
    "humaneval": "humaneval",
    "multipl-e": "multipl_e",
    "mbpp": "mbpp",
    "humaneval-plus": "humaneval_plus",
    "mbpp-plus": "mbpp_plus",
    "fim-santacoder": "fim_santacoder",
    "humaneval-infilling": "humaneval_infilling",
    "ds1000": "ds1000",
    "cruxeval": "cruxeval",
    "leetcode": "leetcode",
    "pal-math": "pal_math",
    "cot-math": "cot_math",
    "mmlu": "mmlu",
    "bbh": "bbh",
    "needle": "needle",
    "ceval": "ceval",
    "cmmlu": "cmmlu",
    "agieval": "agieval",
    "arc-easy": "arc:EASY",
    "arc-challenge": "arc:CHALLENGE",
    "triviaqa": "open_qa:TRIVIAQA",
    "nq-open": "open_qa:NATURAL_QUESTIONS",
    "cluewsc": "cluewsc",
    "math-500": "competition_math:MATH_500",
    "aime": "competition_math:AIME",
    "math-odyssey": "math_odyssey",
    "livecodebench": "livecodebench",
    "apps": "apps",
    "usaco": "usaco",
    "repobench": "repobench",
    "crosscodeeval": "crosscodeeval",
    "safim": "safim",
    "humaneval-x": "humaneval_x",
    "humaneval-fix": "humaneval_fix",
    "bigcodebench-hard": "bigcodebench",
    "aider-edit": "aider:EDIT",
    "aider-polyglot": "aider:POLYGLOT",
    "swe-bench": "swe_bench:ISSUES",
    "defects4j": "defects4j:TASK",
    "mt-bench": "mt_bench",
    "arena-hard": "arena_hard",
    "alpaca-eval": "alpaca_eval",
    "alignbench": "alignbench",
}
"""Name on the command line: module in this folder, and the name of the task in it if it has
several."""


def find_task(name: str) -> Task:
    """The task of this name, or of a file of your own; ConfigError if there is none."""
    if name.endswith(".py"):
        return _task_of(Path(name))
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        cure = (
            f"did you mean {near[0]}?" if near else f"choose one of {', '.join(TASKS)}, or FILE.py"
        )
        raise ConfigError(f"no benchmark {name!r}; {cure}")
    module_name, _, variable = TASKS[name].partition(":")
    module = importlib.import_module(f"codling.evaluate.tasks.{module_name}")
    task: Task = getattr(module, variable or "TASK")
    return task


def _task_of(path: Path) -> Task:
    """The TASK of a Python file. The file is trusted: it runs here, not in the sandbox."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SourceError(f"no benchmark file {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    task = getattr(module, "TASK", None)
    if not isinstance(task, Task):
        raise ConfigError(f'{path} has no TASK; see docs/evaluation.md, "A new benchmark"')
    return task
