"""Speculation with the text and the repository's memory, beside decoding without it.

Three kinds of work on a git repository: places where commits after the memory's tree added lines
(prompt: the file up to there); a name changed all through a piece of a file (prompt: the piece, and
the beginning of the changed one); and text on which guesses fail (few different tokens in random
order, drawn at a high temperature). With and without take turns at each prompt, which both find in
the cache; timed is from the first token to the last. Prints one JSON line per kind: tokens per
pass, and tokens per second with drafts over those without, by the clock and by processor time,
medians of the turns.

    python benchmarks/speculation.py --model smollm2-135m.gguf --repo httpx

Not here: what the memory does to the answers (memory.py and `codling score-commits`).
"""

import argparse
import difflib
import random
import re
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from measuring import cpu_name, now, report, since, versions

from codling.engine.memory.repository import Memory
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine

WITH, WITHOUT = True, False


class Work(NamedTuple):
    """One prompt."""

    kind: str
    ids: list[int]
    params: SamplingParams


class Spent(NamedTuple):
    """What one answer took, its first token apart."""

    n_tokens: int
    n_accepted: int
    n_drafted: int
    clock: float
    processor: float


def main() -> None:
    """Read the command line and let both sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--repo", type=Path, required=True, help="a clone with its history")
    parser.add_argument("--later", type=int, default=150, help="commits after the memory's tree")
    parser.add_argument("--places", type=int, default=8, help="of each kind")
    parser.add_argument("--new", type=int, default=64, help="tokens")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report(versions=versions(), machine=cpu_name(), threads=arguments.threads)
    tree = files_at(arguments.repo, f"HEAD~{arguments.later}")
    newest = files_at(arguments.repo, "HEAD")
    with TextEngine.open(
        arguments.model,
        precision=arguments.precision,
        max_length=2048,
        max_streams=3 * arguments.places,  # every prompt stays in the cache
    ) as engine:
        memory = Memory.build(engine.tokenizer, map(row_of, tree, tree.values()))
        works = [
            *later_lines(engine, tree, newest, arguments.places, arguments.new),
            *renames(engine, tree, arguments.places, arguments.new),
            *failures(arguments.places, arguments.new),
        ]
        for kind in dict.fromkeys(work.kind for work in works):
            chosen = [work for work in works if work.kind == kind]
            engine.memory = memory if kind != "failing" else None
            measure(engine, kind, chosen, arguments.turns)


def measure(engine: TextEngine, kind: str, works: list[Work], n_turns: int) -> None:
    """Let both sides take turns and report the medians."""
    ratios: list[tuple[float, float]] = []
    seen: list[Spent] = []
    for turn in range(-1, n_turns):  # the first is a warm-up
        total = {WITH: [0.0, 0.0], WITHOUT: [0.0, 0.0]}
        for work in works:
            for side in (WITH, WITHOUT) if turn % 2 else (WITHOUT, WITH):
                spent = answer(engine, work, side)
                total[side][0] += spent.clock / spent.n_tokens
                total[side][1] += spent.processor / spent.n_tokens
                if side is WITH and turn >= 0:
                    seen.append(spent)
        if turn >= 0:
            pairs = zip(total[WITHOUT], total[WITH], strict=True)
            clock, processor = (without / with_it for without, with_it in pairs)
            ratios.append((clock, processor))
    n_tokens, n_accepted = sum(s.n_tokens for s in seen), sum(s.n_accepted for s in seen)
    report(
        kind=kind,
        places=len(works),
        tokens=n_tokens,
        drafted=sum(s.n_drafted for s in seen),
        accepted=n_accepted,
        tokens_per_pass=round(n_tokens / (n_tokens - n_accepted), 2),
        times_without_by_clock=round(statistics.median(r[0] for r in ratios), 2),
        times_without_by_processor=round(statistics.median(r[1] for r in ratios), 2),
        turns=[round(r[0], 2) for r in ratios],
    )


def answer(engine: TextEngine, work: Work, side: bool) -> Spent:
    """One answer, timed from its first token on; what it needs of the prompt is cached before."""
    engine.submit(work.ids, SamplingParams(max_tokens=1)).result()
    engine.speculates = side
    stream = engine.submit(work.ids, work.params)
    deltas = iter(stream)
    next(deltas)
    begun = now()
    n_tokens = sum(len(delta.token_ids) for delta in deltas)
    clock, processor = since(begun, now())
    return Spent(n_tokens, stream.n_accepted_tokens, stream.n_drafted_tokens, clock, processor)


def later_lines(
    engine: TextEngine, tree: dict[str, str], newest: dict[str, str], n: int, n_new: int
) -> Iterator[Work]:
    """Places where later commits added lines to a file of the tree, spread over all of them."""
    places = []
    for path in sorted(set(tree) & set(newest)):
        old, new = tree[path].splitlines(True), newest[path].splitlines(True)
        codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        starts = [code[3] for code in codes if code[0] in ("insert", "replace") and code[3] > 5]
        places += ["".join(new[:start]) for start in starts]
    for prefix in places[:: max(1, len(places) // n)][:n]:
        ids = engine.tokenizer.encode(prefix)[-600:]
        yield Work("later lines", ids, greedy(n_new))


def renames(engine: TextEngine, tree: dict[str, str], n: int, n_new: int) -> Iterator[Work]:
    """Pieces of 40 lines, and the first 8 of them with their most frequent name changed."""
    pieces = []
    for path in sorted(tree):
        lines = tree[path].splitlines(True)
        pieces += ["".join(lines[at : at + 40]) for at in range(20, len(lines) - 40, 200)]
    for piece in pieces[:: max(1, len(pieces) // n)][:n]:
        names = Counter(re.findall(r"\b[a-z_]{5,}\b", piece))
        name = names.most_common(1)[0][0] if names else "self"
        changed = re.sub(rf"\b{name}\b", f"{name}_new", piece).splitlines(True)
        text = f"{piece}\n\n# The same, with {name} renamed:\n\n{''.join(changed[:8])}"
        yield Work("rename", engine.tokenizer.encode(text)[-1200:], greedy(n_new))


def failures(n: int, n_new: int) -> Iterator[Work]:
    """Ten tokens in random order, all of which have occurred, and go on at random."""
    for seed in range(n):
        rng = random.Random(seed)
        ids = [rng.randrange(300, 310) for _ in range(600)]
        params = SamplingParams(max_tokens=n_new, temperature=1.5, seed=seed, ignore_eos=True)
        yield Work("failing", ids, params)


def greedy(n_new: int) -> SamplingParams:
    """The likeliest tokens, to the full length."""
    return SamplingParams(max_tokens=n_new, ignore_eos=True)


def files_at(repo: Path, commit: str) -> dict[str, str]:
    """The Python files of a commit, by path."""
    paths = git(repo, "ls-tree", "-r", "--name-only", commit).splitlines()
    return {p: git(repo, "show", f"{commit}:{p}") for p in paths if p.endswith(".py")}


def git(repo: Path, *arguments: str) -> str:
    """What git says."""
    return subprocess.run(
        ["git", "-C", str(repo), *arguments], check=True, capture_output=True, text=True
    ).stdout


def row_of(path: str, content: str) -> dict[str, str]:
    """A file as the memory takes it."""
    row = {"path": path, "repo": "repo", "license": "BSD-3-Clause"}
    return row | {"language": "python", "content": content}


if __name__ == "__main__":
    main()
