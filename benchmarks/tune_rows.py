"""Instruction rows from the training parts of MBPP and GSM8K, for measuring what tuning brings.

    python benchmarks/tune_rows.py DATA --out rows.jsonl

DATA holds mbpp-deepseek/mbpp.jsonl.gz and gsm8k/train.jsonl.gz. Of MBPP tasks 601 to 974 are taken,
its published training split; tasks 11 to 510, which are evaluated, and 511 to 600, its validation
split, are never read into a row. --test writes the evaluated tasks, so that `codling data dialogues
--benchmarks` leaves out what repeats them. A task is asked in the benchmark's own words, every
second a second time after three solved examples, as the benchmark asks: here three other tasks of
the training split. GSM8K's rows are asked as they stand, so many of them as --math says.

Not here: tuning (codling tune) and evaluating (codling evaluate mbpp).
"""

import argparse
import gzip
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_TRAINING, _TESTED = range(601, 975), range(11, 511)
_N_SHOTS, _WITH_SHOTS = 3, 2
"""Examples before a question, and of how many tasks one is asked after some."""
_TASK = (
    "You are an expert Python programmer, and here is your task: {text} "
    "Your code should pass these tests:\n\n{tests}\n"
)
_CLOSING = "Reply with the Python code in one code block."


def main() -> None:
    """Read the command line and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with mbpp-deepseek/ and gsm8k/")
    parser.add_argument("--out", type=Path, required=True, help="the file of rows")
    parser.add_argument("--test", type=Path, help="a file for the tasks that are evaluated")
    parser.add_argument("--math", type=int, default=0, help="rows of GSM8K")
    arguments = parser.parse_args()
    tasks = list(_read(arguments.data / "mbpp-deepseek" / "mbpp.jsonl.gz"))
    problems = list(_read(arguments.data / "gsm8k" / "train.jsonl.gz"))[: arguments.math]
    rows = [
        *mbpp_rows(tasks),
        *({"instruction": r["question"], "output": r["answer"]} for r in problems),
    ]
    _write(arguments.out, rows)
    if arguments.test:
        tested = [task for task in tasks if task["task_id"] in _TESTED]
        _write(arguments.test, tested)
    print(f"{len(rows):,} rows in {arguments.out}")


def mbpp_rows(tasks: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """The training split as instruction and output, every second task also after examples."""
    training = [task for task in tasks if task["task_id"] in _TRAINING]
    generator = random.Random(0)
    for number, task in enumerate(training):
        answer = f"```python\n{_code(task)}\n```"
        yield {"instruction": f"{_ask(task)}\n{_CLOSING}", "output": answer}
        if number % _WITH_SHOTS == 0:
            others = [each for each in training if each is not task]
            shots = "\n\n".join(map(_solved, generator.sample(others, _N_SHOTS)))
            yield {"instruction": f"{shots}\n\n{_ask(task)}\n{_CLOSING}", "output": answer}


def _solved(task: Mapping[str, Any]) -> str:
    return f"{_ask(task)}[BEGIN]\n{_code(task)}\n[DONE]"


def _ask(task: Mapping[str, Any]) -> str:
    return _TASK.format(text=task["text"], tests="\n".join(task["test_list"]))


def _code(task: Mapping[str, Any]) -> str:
    lines = task["code"].replace("\r", "").replace("\t", "    ").rstrip().split("\n")
    return "\n".join(line.rstrip() for line in lines)


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


if __name__ == "__main__":
    main()
