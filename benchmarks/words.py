"""A cursor within a line: exact insertions where the word before it is left to the answer, or not.

Models that are asked prefix first (PSM) end their prompts with the cursor or, healed, before the
word that is being typed, which the answer then has to begin with (tokens/fim.py). Asked are lines
of HumanEval's single-line infilling from cursors drawn at random within their first 70%, three of a
line, both ways; told apart is what stands around the cursor: inside of a word, at a word's end,
after a blank, after another mark.

    python benchmarks/words.py qwen2.5-coder-0.5b.gguf HumanEval-SingleLineInfilling.jsonl.gz

Prints one JSON line per kind of place after every 10 lines. Not here: how much is read after the
cursor (suffix.py), and what a typed letter costs (latency.py).
"""

import argparse
from pathlib import Path
from random import Random

from measuring import report
from suffix import at_the_code

from codling.core.foreign_json import read_rows
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine


def main() -> None:
    """Read the command line, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--count", type=int, default=60, help="lines")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = Random(args.seed)
    rows = rng.sample([at_the_code(row) for row in read_rows(args.problems)], args.count)
    params = SamplingParams(max_tokens=48, stop=("\n",))
    found: dict[str, list[tuple[bool, bool]]] = {}
    with TextEngine.open(args.model, max_streams=2, max_length=2048) as engine:
        for n, row in enumerate(rows, 1):
            line = row["canonical_solution"]
            places = range(1, len(line) * 7 // 10)
            for at in rng.sample(places, min(3, len(places))):
                prefix, rest = row["prompt"] + line[:at], line[at:]
                exact = []
                for heals in (False, True):
                    asked = engine.insert_prompt(prefix, row["suffix"], heals=heals)
                    answer = engine.submit(asked, params, mode="insert").result().text
                    exact.append(answer.strip() == rest.strip())
                found.setdefault(kind_of(line[at - 1], line[at]), []).append((exact[0], exact[1]))
            if n % 10 == 0:
                for kind, answers in sorted(found.items()):
                    plain, healed = map(sum, zip(*answers, strict=True))
                    report(lines=n, cursor=kind, asked=len(answers), plain=plain, healed=healed)


def kind_of(before: str, after: str) -> str:
    """What stands around a cursor."""
    if is_letter(before):
        return "inside a word" if is_letter(after) else "at a word's end"
    return "after a blank" if before.isspace() else "after a mark"


def is_letter(character: str) -> bool:
    """Whether it may be of a name."""
    return character.isalnum() or character == "_"


if __name__ == "__main__":
    main()
