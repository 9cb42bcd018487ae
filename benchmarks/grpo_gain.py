"""What GRPO brings on held-out prompts, run by run with several seeds.

    python benchmarks/grpo_gain.py --model smollm2-135m.gguf --work-dir /tmp/gain --seeds 0 1 2
    codling data tasks --made-up 600 --out-dir /tmp/tasks
    python benchmarks/grpo_gain.py --tasks /tmp/tasks --length 48 ...

Without `--tasks`, sums told in words: writes rows in the form of codling's exercises (a prompt that
is continued, and the right answer), one sum of two small numbers each, told by one of 24 sentences.
With it, programs with hidden tests. The prompts of a group (a sentence, a family of functions) are
held out together, so what is measured was not learned from. Then `codling grpo` once per seed,
which decides the weights' start, what is held out and the answers. One JSON line per seed: pass
rates before and after, the gain with its 95% interval over prompts and over groups, and the curve
of the reward. With `--rewards verdicts model both` three runs with the same budget stand side by
side, and between them the reward model that the first one's answers teach. What was interrupted
goes on.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

SENTENCES = {
    "+": (
        "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
        "There are {a} {things} on the table and {b} in the box. How many {things} are there?",
        "{name} finds {a} {things} on Monday and {b} on Tuesday. How many {things} are that?",
        "A shop sells {a} {things} before noon and {b} after it. How many {things} in all?",
        "{name} has {a} {things}, a friend has {b}. How many {things} do they have together?",
        "A bag holds {a} {things}. {name} puts {b} more into it. How many {things} are in it?",
        "{a} {things} lie in one room and {b} in another. How many {things} are there in total?",
        "{name} counts {a} {things}, then another {b}. How many {things} did {name} count?",
        "What is {a} plus {b}?",
        "Add {a} and {b}.",
        "What is the sum of {a} and {b}?",
        "{a} + {b} = ?",
    ),
    "-": (
        "{name} has {a} {things} and gives {b} away. How many {things} are left?",
        "There are {a} {things} in a bag. {name} takes {b} out. How many {things} stay in it?",
        "{name} had {a} {things} and lost {b}. How many {things} does {name} still have?",
        "A shop has {a} {things} and sells {b}. How many {things} remain?",
        "Of {a} {things}, {b} are broken. How many {things} are not broken?",
        "{name} has {a} {things} and a friend has {b} fewer. How many does the friend have?",
        "{a} {things} are on a shelf and {b} fall down. How many {things} are on the shelf now?",
        "{name} needs {a} {things} and has {b}. How many {things} are missing?",
        "What is {a} minus {b}?",
        "Subtract {b} from {a}.",
        "What is the difference of {a} and {b}?",
        "{a} - {b} = ?",
    ),
}
NAMES = ("Ann", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo")
REWARDS = ("verdicts", "model", "both")
THINGS = ("apples", "books", "coins", "pens", "cups", "stones", "cards", "shells")


def make_rows(n_each: int, seed: int) -> Iterator[dict[str, Any]]:
    """`n_each` different prompts of every sentence, the sentences in turn."""
    random = Random(seed)
    told = [(sign, *each) for sign, all_ in SENTENCES.items() for each in enumerate(all_)]
    pairs = [(a, b) for a in range(1, 13) for b in range(1, 13)]
    drawn = [random.sample(pairs, n_each) for _ in told]
    for turn in range(n_each):
        for (sign, number, sentence), mine in zip(told, drawn, strict=True):
            more, b = mine[turn]
            a = more if sign == "+" else more + b
            words = {"name": random.choice(NAMES), "things": random.choice(THINGS)}
            yield {
                "id": f"{sign}{number}/{a}/{b}",
                "prompt": f"Question: {sentence.format(a=a, b=b, **words)}\nAnswer:",
                "stop": ["\n"],
                "answer": str(a + b if sign == "+" else more),
                "group": f"{sign}{number}",
            }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a mean; nan for one value."""
    if len(values) < 2:
        return math.nan, math.nan
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values) - half, statistics.fmean(values) + half


def summarise(folder: Path) -> dict[str, Any]:
    """What a finished run brought."""
    rows = [json.loads(line) for line in (folder / "heldout.jsonl").read_text().splitlines()]
    rates: dict[int, dict[str, float]] = defaultdict(dict)
    group = {row["id"]: row["group"] for row in rows}
    for row in rows:
        rates[row["step"]][row["id"]] = row["n_passed"] / row["n"]
    first, last = rates[min(rates)], rates[max(rates)]
    gains = {name: last[name] - rate for name, rate in first.items()}
    by_group: dict[str, list[float]] = defaultdict(list)
    for name, gain in gains.items():
        by_group[group[name]].append(gain)
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    tenth = max(1, len(metrics) // 10)
    return {
        "prompts": len(gains),
        "before": statistics.fmean(first.values()),
        "after": statistics.fmean(last.values()),
        "gain": statistics.fmean(gains.values()),
        "by_prompt": interval(list(gains.values())),
        "by_group": interval([statistics.fmean(each) for each in by_group.values()]),
        "curve": [
            round(statistics.fmean(row["pass_rate"] for row in metrics[at : at + tenth]), 3)
            for at in range(0, len(metrics), tenth)
        ],
        "answers": (folder / "rollouts.jsonl").read_text().count("\n"),
    }


def learn(arguments: argparse.Namespace, rows: Path, seed: int, reward: str) -> Path:
    """One run of codling grpo; before one that needs it, the reward model on the verdicts' run."""
    out = arguments.work_dir / (f"seed-{seed}" if reward == "verdicts" else f"seed-{seed}-{reward}")
    settings = {
        "model": arguments.model,
        "out-dir": out,
        "seed": seed,
        "max-steps": arguments.steps,
        "optimizer.learning-rate": arguments.rate,
        "max-completion-length": arguments.length,
        "heldout-share": 0.3,
        "n-heldout-evals": 1,
        "n-heldout-answers": 2,
        "max-heldout": 120,
        "save-seconds": 60,
    }
    if reward != "verdicts":
        model = teach_rewards(arguments, rows, seed)
        settings |= {"reward": reward, "reward-model-dir": model}
    call("grpo", str(rows), *list_flags(settings), *arguments.rest)
    return out


def teach_rewards(arguments: argparse.Namespace, rows: Path, seed: int) -> Path:
    """The reward model, from the answers of the run that verdicts rewarded."""
    out = arguments.work_dir / f"seed-{seed}-reward-model"
    settings = {"tasks-dir": rows, "model": arguments.model, "out-dir": out, "seed": seed}
    settings |= {"context": 256, "pairs-per-prompt": 8, "n-heldout-evals": 1}
    settings |= {"max-steps": arguments.steps, "threads": 1}
    flags = [*list_flags(settings), "--no-compile"]
    call("reward-model", str(arguments.work_dir / f"seed-{seed}"), *flags)
    counts = json.loads((out / "manifest.json").read_text())["counts"]
    report = {name: counts.get(name) for name in ("pairs", "heldout_pairs", "accuracy")}
    print(json.dumps({"seed": seed, "reward_model": report}), flush=True)
    return out


def list_flags(settings: dict[str, object]) -> list[str]:
    """Settings as they stand on a command line."""
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def call(*words: str) -> None:
    """A command of codling's; what is complete is skipped, what was interrupted goes on."""
    subprocess.run([sys.executable, "-m", "codling.cli", *words], check=True)


def main() -> None:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--each", type=int, default=40, help="prompts of a sentence")
    parser.add_argument("--tasks", type=Path, help="exercises of codling data tasks")
    parser.add_argument("--length", type=int, default=12, help="tokens of an answer at most")
    parser.add_argument(
        "--rewards", nargs="+", choices=REWARDS, default=["verdicts"], help="one run for each"
    )
    parser.add_argument("--rest", nargs=argparse.REMAINDER, default=[], help="for codling grpo")
    arguments = parser.parse_args()
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    rows = arguments.tasks or arguments.work_dir / "rows.jsonl"
    if arguments.tasks is None:
        rows.write_text("".join(json.dumps(row) + "\n" for row in make_rows(arguments.each, 0)))
    for seed in arguments.seeds:
        for reward in arguments.rewards:
            out = learn(arguments, rows, seed, reward)
            print(json.dumps({"seed": seed, "reward": reward, **summarise(out)}), flush=True)


if __name__ == "__main__":
    main()
