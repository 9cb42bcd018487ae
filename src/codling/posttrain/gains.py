"""What learning brought on hidden tests of held-out prompts: rates and gains with their intervals.

Input: a folder with heldout.jsonl, as grpo and score-tasks write it. Output: numbers. The same
prompts are asked before and after, so a gain's interval is that of the paired differences.

Not here: asking (questions.py).
"""

import math
from pathlib import Path

from codling.core.files import read_json_lines
from codling.grading.pass_at_k import mean_with_interval

HELDOUT = "heldout.jsonl"

Passed = dict[str, tuple[int, int]]
"""By prompt: answers, and those of them that passed."""


def read_curve(folder: Path) -> dict[int, Passed]:
    """What every measurement found, by the number of steps before it."""
    curve: dict[int, Passed] = {}
    path = folder / HELDOUT
    for row in read_json_lines(path) if path.is_file() else ():
        curve.setdefault(row["step"], {})[row["id"]] = (row["n"], row["n_passed"])
    return curve


def rate_of(passed: Passed) -> tuple[float, float, float]:
    """The pass rate with its 95% interval."""
    return mean_with_interval(list(passed.values()), 1)


def interval_of_gain(before: Passed, after: Passed) -> tuple[float, float]:
    """The 95% interval of the mean gain per prompt: the same prompts are asked both times.

    >>> interval_of_gain({"a": (1, 0), "b": (1, 0)}, {"a": (1, 1), "b": (1, 1)})
    (1.0, 1.0)
    """
    gains = [after[i][1] / after[i][0] - n_passed / n for i, (n, n_passed) in before.items()]
    mean = sum(gains) / len(gains)
    variance = sum((gain - mean) ** 2 for gain in gains) / max(1, len(gains) - 1)
    half = 1.96 * math.sqrt(variance / len(gains))
    return mean - half, mean + half
