"""Memory of data creation with documents of the largest size that is allowed.

Input: a folder to work in, and a benchmark file to look for. Output: a JSON line per stage: MB of
its largest process, and of all its processes together (shared pages counted once, as PSS), two
workers, the highest of samples every 20 ms.

    python benchmarks/corpus_memory.py --work /tmp/memory --benchmark HumanEval.jsonl.gz

`--mb 108 --documents 2 --stages dedup decontaminate` gives those two stages documents that collect
would not let pass.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import corpus_dedup

from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import MAX_DOCUMENT_BYTES, CleanConfig, CollectConfig
from codling.corpus.decontaminate import DecontaminateConfig, decontaminate
from codling.corpus.dedup import DedupConfig, dedup

STAGES = ("collect", "clean", "dedup", "decontaminate")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def main() -> None:
    """Write the documents, then run each stage in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--benchmark", type=Path, required=True)
    parser.add_argument("--mb", type=int, default=MAX_DOCUMENT_BYTES // 1_000_000 - 1)
    parser.add_argument("--documents", type=int, default=6)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--inside", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps({"stage": given.inside} | peak(given.inside, given)))
        return
    shutil.rmtree(given.work, ignore_errors=True)
    texts = [text(given.mb, seed) for seed in range(given.documents)]
    if "collect" in given.stages:
        (given.work / "source").mkdir(parents=True)
        for i, each in enumerate(texts):
            (given.work / "source" / f"{i}.py").write_text(each)
    else:
        rows = (corpus_dedup.row("r", f"{i}.py", each) for i, each in enumerate(texts))
        corpus_dedup.build(given.work / "documents", rows)
    del texts
    for stage in given.stages:
        command = [sys.executable, __file__, *sys.argv[1:], "--inside", stage]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")


def text(mb: int, seed: int) -> str:
    """So many MB of assignments with random names."""
    source = random.Random(seed)
    words = [f"name_{i}" for i in range(50_000)]
    lines = [
        f"x_{source.randrange(10**6)} = {source.choice(words)}({source.choice(words)})\n"
        for _ in range(200_000)
    ]
    n = mb * 1_000_000 // sum(map(len, lines))
    return "".join("".join(source.sample(lines, len(lines))) for _ in range(n))


def peak(stage: str, given: argparse.Namespace) -> dict[str, int]:
    """Run a stage and watch the processes below this one."""
    highest = {"largest_process_mb": 0, "all_processes_mb": 0}
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            largest, together = memory(os.getpid())
            highest["largest_process_mb"] = max(highest["largest_process_mb"], largest)
            highest["all_processes_mb"] = max(highest["all_processes_mb"], together)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run(stage, given)
    finally:
        is_over.set()
        watcher.join()
    return highest


def run(stage: str, given: argparse.Namespace) -> None:
    """One stage, with two workers."""
    work, documents = given.work, given.work / "documents"
    match stage:
        case "collect":
            size = {"max_file_bytes": MAX_DOCUMENT_BYTES, "own": True, "heldout_fraction": 0.0}
            sources = (work / "source",)
            collect(CollectConfig(sources=sources, out_dir=work / "raw", workers=2, **size))
        case "clean":
            clean(CleanConfig(raw_dir=work / "raw", out_dir=documents, workers=2))
        case "dedup":
            unique = work / "unique"
            dedup(DedupConfig(documents_dir=documents, out_dir=unique, level="file", workers=2))
        case "decontaminate":
            config = {"documents_dir": documents, "out_dir": work / "decontaminated"}
            decontaminate(DecontaminateConfig(benchmarks=(given.benchmark,), workers=2, **config))


def memory(root: int) -> tuple[int, int]:
    """MB of the largest process of a tree (RSS), and of all together (PSS)."""
    parents, resident = {}, {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            fields = (each / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        pid = int(each.name)
        parents[pid], resident[pid] = int(fields[1]), int(fields[21]) * _PAGE_KB
    tree = {root}
    while grown := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    return max(resident.get(pid, 0) for pid in tree) // 1024, sum(map(pss, tree)) // 1024


def pss(pid: int) -> int:
    """KB of a process, with its part of the pages that it shares."""
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
