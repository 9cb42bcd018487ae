"""Speed of data creation: byte loops, collect and clean, parsing, near-duplicates beside a peer.

Input: a folder of archives, which corpus_sources.py fills where it is empty (52 PyPI sdists, npm
tarballs and Debian sources, 445 MB of source text), unpacked once into WORK/tree. Output: one JSON
line per turn, also appended to WORK/results.jsonl, and the medians of all turns in that file.

    python benchmarks/corpus.py --archives /tmp/corpus-sources --work /tmp/corpus --turns 5

    loops       GB/s of processor time of one core: line statistics, marks, and their plain twin
    pipeline    MB/s of source text through collect and clean; cold in a fresh process, then warm
    parsing     the same with screen and arrange behind it, warm
    dedup       near-duplicates by file, Parquet read to Parquet written, cold and warm, and with
                --peer PYTHON (with `datatrove[processing]` and spaCy) datatrove's four stages, in
                turns, both on the first --peer-mb of the cleaned documents
    recall      planted near-duplicates that are found, by their exact similarity

cold = a fresh process, interpreter and imports included, numba's cache on disk filled, for dedup
with the input dropped from the page cache; warm = once more in that process.
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import corpus_dedup
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from corpus_sources import fetch_all

from codling.core.artifact import Artifact
from codling.core.threads import available_cores
from codling.corpus.arrange import ArrangeConfig, arrange
from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import CleanConfig, CollectConfig
from codling.corpus.filters.line_stats import line_stats
from codling.corpus.redaction.secrets import ANCHORS, ASSIGNED_BIT, PRIVATE_KEY_BIT
from codling.corpus.screen import ScreenConfig, screen
from codling.corpus.tables.reader import buffers

ROWS = ("loops", "pipeline", "parsing", "dedup", "recall")
Row = dict[str, float]


def main() -> None:
    """Unpack the sources, measure the rows in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--peer", type=Path, help="python of an environment with datatrove")
    parser.add_argument("--peer-mb", type=int, default=150)
    parser.add_argument("--inside", choices=("pipeline", "parsing"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(inside(given.work, with_parsing=given.inside == "parsing")))
        return
    prepare(given.archives, given.work)
    results = given.work / "results.jsonl"
    for _ in range(given.turns):
        for row in given.rows:
            line = {"row": row, "at": time.strftime("%F %T"), **measure(row, given)}
            print(json.dumps(line), flush=True)
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
    for row in given.rows:
        print(json.dumps({"median of": row, **medians(results, row)}), flush=True)


def measure(row: str, given: argparse.Namespace) -> dict[str, Any]:
    """One turn of one row."""
    work = given.work
    match row:
        case "loops":
            return loops(work / "raw")
        case "dedup":
            return corpus_dedup.turn(work / "documents", work, given.peer, given.peer_mb)
        case "recall":
            return corpus_dedup.recall(work)
        case _:
            return fresh(row, given)


def prepare(archives: Path, work: Path) -> None:
    """The unpacked sources, and one run of the stages over them, which also fills the caches."""
    if not archives.is_dir() or not any(archives.iterdir()):
        fetch_all(archives)
    tree = work / "tree"
    if not tree.exists():
        for path in sorted(archives.rglob("*"), key=lambda path: path.name):
            if (".tar." in path.name or path.suffix == ".tgz") and ".debian." not in path.name:
                with tarfile.open(path) as archive:
                    archive.extractall(tree / path.name.partition(".tar")[0], filter="data")
    raw = collect(CollectConfig(sources=sources(work), out_dir=work / "raw"))
    clean(CleanConfig(raw_dir=raw.path, out_dir=work / "documents"))
    packages = ("numba", "pyarrow", "polars", "tree-sitter")
    machine = {"machine": platform.machine(), "cores": available_cores()}
    machine |= {"python": platform.python_version()} | {name: version(name) for name in packages}
    n_sources = len(sources(work))
    print(json.dumps(machine | {"sources": n_sources, "files": raw.counts["documents"]}))


def sources(work: Path) -> tuple[Path, ...]:
    """The unpacked archives."""
    return tuple(sorted((work / "tree").iterdir()))


def fresh(row: str, given: argparse.Namespace) -> dict[str, Any]:
    """A row of stages, measured in a process of its own."""
    command = [sys.executable, __file__, "--archives", given.archives, "--work", given.work]
    started = time.perf_counter()
    done = subprocess.run(
        [*map(str, command), "--inside", row], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - started
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if row == "pipeline":
        cold = seconds - found.pop("warm_s")
        found["cold_both_mb_s"] = round(found["mb"] / cold, 1)
    return found


def inside(work: Path, *, with_parsing: bool) -> Row:
    """The stages once cold and once warm, in this process."""
    out = work / "inside"
    stages(work, out)
    row = stages(work, out)
    if with_parsing:
        row |= parsing(out, row)
    shutil.rmtree(out)
    return {name: round(value, 2) for name, value in row.items()}


def stages(work: Path, out: Path) -> Row:
    """collect and clean."""
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    raw, first = timed(lambda: collect(CollectConfig(sources=sources(work), out_dir=out / "raw")))
    _, then = timed(lambda: clean(CleanConfig(raw_dir=out / "raw", out_dir=out / "documents")))
    mb = raw.counts["bytes"] / 1e6
    rates = {"collect_mb_s": mb / first, "clean_mb_s": mb / then, "both_mb_s": mb / (first + then)}
    return {"mb": mb, "warm_s": time.perf_counter() - started, **rates}


def parsing(out: Path, row: Row) -> Row:
    """screen and arrange behind them, and the rate of all four."""
    screening = ScreenConfig(documents_dir=out / "documents", out_dir=out / "screened")
    arranging = ArrangeConfig(documents_dir=out / "screened", out_dir=out / "samples")
    _, screened = timed(lambda: screen(screening))
    _, arranged = timed(lambda: arrange(arranging))
    mb, before = row["mb"], row["mb"] / row["both_mb_s"]
    rates = {"screen_mb_s": mb / screened, "arrange_mb_s": mb / arranged}
    return rates | {"all_mb_s": mb / (before + screened + arranged)}


def timed(stage: Callable[[], Artifact]) -> tuple[Artifact, float]:
    """What a stage makes, and its seconds."""
    started = time.perf_counter()
    artifact = stage()
    return artifact, time.perf_counter() - started


def loops(raw_dir: Path) -> Row:
    """GB/s of processor time of the loops over bytes, on about 100 MB of the sources."""
    from codling.corpus import marks_kernel
    from codling.corpus.filters import line_stats_kernel

    paths = sorted(raw_dir.glob("documents-*"))[::4]
    tables = [pq.read_table(path, columns=["content"]) for path in paths]
    column = pa.concat_tables(tables)["content"].combine_chunks()
    everything, ascii_only = buffers(column), buffers(column.filter(pc.string_is_ascii(column)))
    texts = column.to_pylist()[:2000]
    bits = {"pem": PRIVATE_KEY_BIT, "named": ASSIGNED_BIT}
    timed_loops: dict[str, tuple[Callable[[], object], int]] = {
        "line_stats_gb_s": (lambda: line_stats_kernel.count(*everything), len(everything[0])),
        "line_stats_ascii_gb_s": (lambda: line_stats_kernel.count(*ascii_only), len(ascii_only[0])),
        "marks_gb_s": (lambda: marks_kernel.mark(*everything, ANCHORS, **bits), len(everything[0])),
        "line_stats_plain_gb_s": (
            lambda: [line_stats(text) for text in texts],
            sum(len(text.encode()) for text in texts),
        ),
    }
    found = {n: size / 1e9 / processor_seconds(f) for n, (f, size) in timed_loops.items()}
    return {name: round(rate, 3) for name, rate in found.items()}


def processor_seconds(loop: Callable[[], object]) -> float:
    """The median of three, after one that loads and warms."""
    loop()
    seconds = []
    for _ in range(3):
        started = time.process_time()
        loop()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def medians(results: Path, row: str) -> dict[str, Any]:
    """The median of every number over all turns of a row, and how many turns there are."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    turns = [line for line in lines if line["row"] == row]
    numbers = {n for t in turns for n, v in t.items() if isinstance(v, int | float)}
    found = {n: round(statistics.median(t[n] for t in turns if n in t), 3) for n in sorted(numbers)}
    return {"turns": len(turns), **found}


if __name__ == "__main__":
    main()
