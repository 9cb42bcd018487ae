"""The benchmarks, by name. Each is one file with a `TASK`; a new one needs a file and a line
here."""

import difflib
import importlib

from codling.core.errors import ConfigError
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
}
"""Name on the command line: module in this folder."""


def find_task(name: str) -> Task:
    """The task of this name; ConfigError with the nearest name if there is none."""
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        cure = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(TASKS)}"
        raise ConfigError(f"no benchmark {name!r}; {cure}")
    module = importlib.import_module(f"codling.evaluate.tasks.{TASKS[name]}")
    task: Task = module.TASK
    return task
