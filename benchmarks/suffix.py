"""How much text after the cursor is worth its time: exact insertions and milliseconds per window.

Models that are asked prefix first (PSM) compute the suffix again after every typed character. Lines
are asked for with the first so many tokens of what follows: of HumanEval's single-line infilling,
or of a folder's Python files, where much follows (code lines drawn at random, 1,200 characters
before and 2,400 after). The cursor stands after the indentation, where an editor puts it. Then the
clock runs for one token after a prefix that is there but for its end, as when a character was
typed. Times are of the processor, so that they stand a busy machine.

    python benchmarks/suffix.py qwen2.5-coder-0.5b.gguf HumanEval-SingleLineInfilling.jsonl.gz
    python benchmarks/suffix.py qwen2.5-coder-0.5b.gguf httpx/httpx --windows 0 32 128 1000

Prints one JSON line per window after every 10 problems: those exact so far, the mean of the edit
similarity, and the median time.
"""

import argparse
import random
import statistics
import time
from pathlib import Path

from measuring import report

from codling.core.foreign_json import read_rows
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.evaluate.heldout.insertion import edit_similarity
from codling.tokens.fim import near_suffix


def main() -> None:
    """Read the command line, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--windows", type=int, nargs="+", default=[0, 16, 32, 64, 1000])
    args = parser.parse_args()
    rows = lines_of(args.problems) if args.problems.is_dir() else list(read_rows(args.problems))
    rows = random.Random(0).sample(rows, args.count)
    likeness: dict[int, list[float]] = {window: [] for window in args.windows}
    times: dict[int, list[float]] = {window: [] for window in args.windows}
    params = SamplingParams(max_tokens=48, stop=("\n",))
    with TextEngine.open(args.model, max_streams=2, max_length=2048) as engine:
        for n, row in enumerate(rows, 1):
            row = at_the_code(row)
            for window in args.windows:
                suffix = near_suffix(engine.tokenizer, row["suffix"], window)
                asked = engine.insert_prompt(row["prompt"], suffix)
                answer = engine.submit(asked, params, mode="insert").result().text
                likeness[window].append(edit_similarity(answer.strip(), row["canonical_solution"]))
            for i, window in enumerate(args.windows, 1):
                # Each time another end of the prefix, so that nothing of the suffix is there yet.
                asked = engine.insert_prompt(
                    row["prompt"][:-i], near_suffix(engine.tokenizer, row["suffix"], window)
                )
                began = time.process_time()
                engine.submit(asked, SamplingParams(max_tokens=1), mode="insert").result()
                times[window].append(time.process_time() - began)
            if n % 10 == 0:
                for window, found in likeness.items():
                    report(
                        problems=n,
                        window=window,
                        exact=found.count(1.0),
                        similarity=round(statistics.mean(found), 3),
                        cpu_ms=round(1000 * statistics.median(times[window])),
                    )


def lines_of(folder: Path) -> list[dict[str, str]]:
    """Every line of code in a folder's Python files that has enough text on both sides."""
    rows = []
    for path in sorted(folder.rglob("*.py")):
        lines = path.read_text().splitlines(keepends=True)
        for i, line in enumerate(lines):
            before, after = "".join(lines[:i])[-1_200:], "".join(lines[i + 1 :])[:2_400]
            word = line.strip()
            is_code = len(word) >= 10 and not word.startswith(("#", '"', "'"))
            if is_code and len(before) == 1_200 and len(after) == 2_400:
                rows.append({"prompt": before, "suffix": after, "canonical_solution": line})
    return rows


def at_the_code(row: dict[str, str]) -> dict[str, str]:
    """The row with the cursor after the line's indentation, and before its line end."""
    line = row["canonical_solution"]
    word = line.strip()
    indentation, rest = line[: line.find(word)], line[line.find(word) + len(word) :]
    return {
        "prompt": row["prompt"] + indentation,
        "suffix": rest + row["suffix"],
        "canonical_solution": word,
    }


if __name__ == "__main__":
    main()
