"""The solved questions that base models see before a question of GSM8K (arXiv:2110.14168).

Input: gsm8k/train.jsonl, rows of question and answer, the answer as "REASONS #### NUMBER". Output:
a text in front of the question. What `<<48/2=24>>` notes for a calculator is left out.

Not here: the question itself (tasks/cot_math.py).
"""

import re
from itertools import islice
from pathlib import Path

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import read_lines

_SHOTS = 8
_CALCULATED = re.compile(r"<<[^<>]*>>")


def show_solved(data_dir: Path, config: BenchmarkConfig) -> str:
    """The first eight, or `--shots` of them, with their reasons; nothing for chats.

    SourceError where the train set is missing.
    """
    n = _SHOTS if config.shots is None else config.shots
    if config.style != "base" or not n:
        return ""
    path = data_dir / "gsm8k" / "train.jsonl"
    if not any(each.is_file() for each in (path, path.with_name(f"{path.name}.gz"))):
        raise SourceError(f"no {path} (or .gz) with the solved examples; or give --shots 0")
    rows = islice(read_lines(path), n)
    return "".join(_show(str(row["question"]), str(row["answer"])) for row in rows)


def _show(question: str, answer: str) -> str:
    reasons, _, number = _CALCULATED.sub("", answer).partition("####")
    said = f"{reasons.strip()}\nThe answer is {number.strip()}."
    return f"Question: {question}\nAnswer: {said}\n\n"
