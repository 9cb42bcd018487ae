"""ARC, MMLU and TriviaQA beside lm-evaluation-harness: the same rows, answers and speed.

Both sides read the same rows of the published files and the same weights in float32. Theirs are
their own tasks, which read local files; ours is what `codling evaluate` does. Compared are every
option's log-probability, what was said and each row's verdict. Then the sides take turns on fewer
rows; a side's figure is the tokens of all prompts with each option (of prompts and answers where
there are none) by seconds, theirs without the time in which it builds requests.

    pip install 'codling[peers]'
    python benchmarks/likelihood.py --model FOLDER --data-dir DATA --turns 5

FOLDER is in transformers' form, which both can read. Prints one JSON line per benchmark and turn.
"""

import argparse
import csv
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import Seconds, cpu_name, now, report, since

from codling.core.foreign_json import read_object
from codling.evaluate import harness
from codling.evaluate.backends import EngineBackend
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.task import read_lines
from codling.evaluate.tasks import find_task

SHOTS = {"arc-easy": 0, "arc-challenge": 0, "mmlu": 5, "triviaqa": 5}
"""lm-eval draws ARC's examples. TriviaQA's are ours on both sides, since its train set is not here:
the first of NQ-open's smaller file."""
Take = Callable[[Sequence[Any]], list[Any]]
"""Which rows of all are compared."""
_NQ = "NQ-open.efficientqa.dev.1.1.jsonl"


def main() -> None:
    """Read the command line, compare, and let the sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=200, help="of each benchmark")
    parser.add_argument("--part", default="1/1", help="2/4: the second of four parts of these rows")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8, help="of lm-eval")
    parser.add_argument("--tasks", default=",".join(SHOTS))
    parser.add_argument("--trivia-shots", type=int, default=SHOTS["triviaqa"])
    arguments = parser.parse_args()
    SHOTS["triviaqa"] = arguments.trivia_shots
    with tempfile.TemporaryDirectory() as folder, Sides(arguments.model, Path(folder)) as sides:
        for name in arguments.tasks.split(","):
            data = Path(folder) / name
            write_rows(arguments.data_dir, data, name, arguments.rows, arguments.part)
            for turn in range(arguments.turns):
                ours = sides.ours(name, data, turn)
                theirs = sides.theirs(name, data, arguments.batch_size)
                report(benchmark=name, turn=turn, cpu=cpu_name(), **compare(ours, theirs))


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a side says about a question."""

    name: str
    passed: bool
    said: str = ""
    sums: tuple[float, ...] = ()
    """Log-probabilities of the options."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """A side's rows in the order of the data."""

    rows: Sequence[Row]
    seconds: Seconds
    n_tokens: int


class Sides:
    """Both sides with the same weights."""

    def __init__(self, model: Path, folder: Path) -> None:
        os.environ |= {"HF_DATASETS_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        from lm_eval.models.huggingface import HFLM

        self._folder = folder
        self._config = BenchmarkConfig(benchmark="", model=model, precision="float32")
        self._backend = EngineBackend.open(model, self._config)
        # Else it keeps the last 2,048 tokens of a prompt.
        longest = read_object(model / "config.json")["max_position_embeddings"]
        self._peer = HFLM(pretrained=str(model), dtype="float32", device="cpu", max_length=longest)
        self._clock = Clock(self._peer)

    def __enter__(self) -> "Sides":
        """Both are open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ours has threads."""
        self._backend.close()

    def ours(self, name: str, data: Path, turn: int = 0) -> Side:
        """What `codling evaluate` does; what was asked in another turn is asked again."""
        from dataclasses import replace

        task = find_task(name)
        ranking = "sum" if name.startswith("arc") else "task"
        config = replace(self._config, data_dir=data, shots=SHOTS[name], ranking=ranking)
        problems = task.load(data, config)
        started = now()
        rows = harness.rows_in(self._folder / f"{name}-{turn}", "generations")
        samples = harness.generate(task, problems, self._backend, config, rows)
        seconds = since(started, now())
        samples = harness.extract(task, samples, config, harness.rows_in(data, "extractions"))
        stored = {row["problem"]: row for row in read_lines(rows.path)}
        judged = harness.execute(task, samples, config, harness.rows_in(data, "executions"))
        found = [
            Row(
                name=sample.problem.id,
                passed=sample.passed,
                said=sample.text.strip(),
                sums=tuple(stored[sample.problem.id].get("options", ())),
            )
            for sample in judged
        ]
        return Side(rows=found, seconds=seconds, n_tokens=0)

    def theirs(self, name: str, data: Path, batch_size: int = 8) -> Side:
        """Their tasks on the same rows, and their model's time."""
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        names = write_tasks(data, name)
        self._clock.seconds, self._clock.n_tokens = (0.0, 0.0), 0
        self._peer.batch_size_per_gpu = batch_size
        found = simple_evaluate(
            model=self._peer,
            tasks=names,
            num_fewshot=SHOTS[name],
            task_manager=TaskManager(include_path=str(data), include_defaults=False),
            bootstrap_iters=0,
        )
        rows = [_their_row(each) for task in names for each in found["samples"][task]]
        return Side(rows=rows, seconds=self._clock.seconds, n_tokens=self._clock.n_tokens)


class Clock:
    """The seconds that lm-eval's model takes, and the tokens of what it is asked."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        self.seconds: Seconds = (0.0, 0.0)
        self.n_tokens, self._model = 0, model
        for name in ("loglikelihood", "generate_until"):
            setattr(model, name, self._timed(getattr(model, name)))

    def _timed(self, call: Any) -> Any:  # noqa: ANN401
        def run(requests: Sequence[Any], **how: Any) -> Any:  # noqa: ANN401
            started = now()
            answers = call(requests, **how)
            took = since(started, now())
            self.seconds = (self.seconds[0] + took[0], self.seconds[1] + took[1])
            for request, answer in zip(requests, answers, strict=True):
                after = request.args[1] if isinstance(request.args[1], str) else answer
                self.n_tokens += len(self._model.tok_encode(request.args[0] + after))
            return answers

        return run


def _their_row(sample: dict[str, Any]) -> Row:
    right = sample.get("acc", sample.get("exact_match"))
    if "acc" in sample:
        sums = tuple(each[0] for each in sample["filtered_resps"])
        return Row(name=sample["doc"]["id"], passed=right == 1, sums=sums)
    return Row(
        name=sample["doc"]["id"], passed=right == 1, said=sample["filtered_resps"][0].strip()
    )


def compare(ours: Side, theirs: Side) -> dict[str, Any]:
    """How far the sides agree, and their speeds."""
    pairs = list(zip(ours.rows, theirs.rows, strict=True))
    assert all(a.name == b.name for a, b in pairs)
    gaps = {
        a.name: max(abs(x - y) for x, y in zip(a.sums, b.sums, strict=True))
        for a, b in pairs
        if b.sums
    }
    speeds = [theirs.n_tokens / side.seconds[0] for side in (ours, theirs)]
    return {
        "rows": len(pairs),
        "right": [sum(a.passed for a, _ in pairs), sum(b.passed for _, b in pairs)],
        "verdicts_differ": [a.name for a, b in pairs if a.passed != b.passed],
        "texts_differ": [a.name for a, b in pairs if not b.sums and a.said != b.said],
        "largest_gap": round(max(gaps.values(), default=0.0), 6),
        "gaps_above_a_thousandth": {
            name: round(gap, 4) for name, gap in gaps.items() if gap > 1e-3
        },
        "tokens_per_second": [round(speed) for speed in speeds],
        "ratio": round(speeds[0] / speeds[1], 2),
        "ratio_of_processor_time": round(theirs.seconds[1] / ours.seconds[1], 2),
    }


def write_rows(data: Path, folder: Path, name: str, n: int, part: str = "1/1") -> None:
    """`n` rows, spread over all, in the published form (for ours) and in lm-eval's; of these
    rows every `parts`-th where `part` is "which/parts"."""
    which, parts = map(int, part.split("/"))

    def take(rows: Sequence[Any]) -> list[Any]:
        spread = [rows[i * len(rows) // n] for i in range(min(n, len(rows)))]
        return spread[which - 1 :: parts]

    writer = {"mmlu": _write_mmlu, "triviaqa": _write_trivia}.get(name, _write_arc)
    writer(data, folder, name, take)


def _write_arc(data: Path, folder: Path, name: str, take: Take) -> None:
    part = f"ARC-{name.removeprefix('arc-').title()}"
    rows = take(list(read_lines(data / "arc" / part / f"{part}-Test.jsonl")))
    _write_lines(folder / "arc" / part / f"{part}-Test.jsonl", rows)
    _write_lines(folder / f"{name.replace('-', '_')}.jsonl", map(_hub_arc, rows))


def _hub_arc(row: dict[str, Any]) -> dict[str, Any]:
    choices = row["question"]["choices"]
    return {
        "id": row["id"],
        "question": row["question"]["stem"],
        "choices": {key: [each[key] for each in choices] for key in ("text", "label")},
        "answerKey": row["answerKey"],
    }


def _write_mmlu(data: Path, folder: Path, name: str, take: Take) -> None:  # noqa: ARG001
    whole = [
        (path, row)
        for path in sorted((data / "mmlu" / "test").glob("*.csv"))
        for row in _read_csv(path)
    ]
    by_path: dict[Path, list[list[str]]] = {}
    for path, row in take(whole):
        by_path.setdefault(path, []).append(row)
    for path, rows in by_path.items():
        subject = path.stem.removesuffix("_test")
        dev = data / "mmlu" / "dev" / f"{subject}_dev.csv"
        for file, table in ((path, rows), (dev, _read_csv(dev))):
            _write_csv(folder / "mmlu" / file.parent.name / file.name, table)
            hub = (_hub_mmlu(f"{subject}/{i}", row) for i, row in enumerate(table))
            _write_lines(folder / f"mmlu_{subject}.{file.parent.name}.jsonl", hub)


def _hub_mmlu(name: str, row: list[str]) -> dict[str, Any]:
    answer = int(row[5]) if row[5].isdigit() else "ABCD".index(row[5])
    return {"id": name, "question": row[0], "choices": row[1:5], "answer": answer}


def _write_trivia(data: Path, folder: Path, name: str, take: Take) -> None:
    rows = take(list(read_lines(next(iter((data / "triviaqa").glob("*.jsonl*"))))))
    solved = list(itertools.islice(read_lines(data / "nq-open" / _NQ), SHOTS[name]))
    _write_lines(folder / "triviaqa" / "rows.jsonl", rows)
    _write_lines(folder / "nq-open" / _NQ, solved)
    _write_lines(folder / f"{name}.jsonl", [_hub_trivia(row, row["answers"]) for row in rows])
    examples = [_hub_trivia(row, row["answer"]) for row in solved]
    _write_lines(folder / f"{name}.train.jsonl", examples)


def _hub_trivia(row: dict[str, Any], answers: Sequence[str]) -> dict[str, Any]:
    # One alias of the data is empty: lm-eval then takes silence for right, ours never does.
    aliases = [alias for alias in answers if alias]
    return {
        "id": row.get("id", ""), "question": row["question"], "answer": {"aliases": aliases}
    }  # fmt: skip


def write_tasks(folder: Path, name: str) -> list[str]:
    """Their tasks with nothing changed but where they read; their names."""
    import lm_eval.tasks

    theirs = Path(lm_eval.tasks.__file__).parent
    if name == "mmlu":
        subjects = sorted(path.name.partition(".")[0] for path in folder.glob("*.test.jsonl"))
        return [
            _write_task(
                folder,
                each,
                theirs / "mmlu" / "default",
                test=f"{each}.test.jsonl",
                dev=f"{each}.dev.jsonl",
            )
            for each in subjects
        ]
    if name == "triviaqa":
        where = theirs / "triviaqa" / "default.yaml"
        files = {"validation": f"{name}.jsonl"}
        files |= {"train": f"{name}.train.jsonl"} if SHOTS[name] else {}
        return [_write_task(folder, name, where, **files)]
    task = name.replace("-", "_")
    return [_write_task(folder, task, theirs / "arc", test=f"{task}.jsonl")]


def _write_task(folder: Path, name: str, theirs: Path, **files: str) -> str:
    base = theirs if theirs.suffix else theirs / f"{name}.yaml"
    own = {
        "include": str(base),
        "task": f"local_{name}",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {k: str(folder / v) for k, v in files.items()}},
        **({"fewshot_config": {"sampler": "first_n"}} if "train" in files else {}),
        **({} if "train" in files else {"training_split": None}),
        **({} if "validation" in files else {"validation_split": None}),
    }
    (folder / f"local_{name}.yaml").write_text(json.dumps(own))
    return f"local_{name}"


def _read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as lines:
        rows = [row for row in csv.reader(lines) if len(row) == 6]
    return rows[1:] if rows[0][0] == "question" else rows


def _write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _write_lines(path: Path, rows: Iterator[Any] | Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
