"""Speed of data creation without parsing: collect and clean on real sources, and the byte loops.

Input: the folder of archives that corpus_sources.py fills (it is filled where it is empty). Output:
a JSON line: MB/s of source text for collect, clean and both together on all cores, and GB/s of the
compiled line statistics, searches and their plain-Python reference on one core.

    python benchmarks/corpus_pipeline.py /tmp/corpus-sources
"""

import json
import os
import platform
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import Artifact
from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import CleanConfig, CollectConfig, available_cores
from codling.corpus.judge import _buffers
from codling.corpus.linestats import line_stats
from codling.corpus.secrets import ANCHORS

RUNS = int(os.environ.get("RUNS", "3"))


def main(folder: Path) -> None:
    """Unpack the archives once, then time the stages."""
    work = Path(tempfile.mkdtemp(prefix="codling-bench-"))
    try:
        tree = _unpacked(folder, work / "tree")
        sources = tuple(sorted(tree.iterdir()))
        rows: list[dict[str, float]] = []
        for run in range(RUNS + 1):
            rows.append(_stages(sources, work / str(run)))
        warm = rows[1:]
        result = {name: statistics.median(row[name] for row in warm) for name in warm[0]}
        result |= _loops(work / "0" / "raw")
        machine = {"machine": platform.machine(), "cores": available_cores()}
        print(json.dumps(machine | {k: round(v, 3) for k, v in result.items()}))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpacked(folder: Path, tree: Path) -> Path:
    for path in sorted(folder.iterdir()):
        if ".tar." in path.name or path.suffix == ".tgz":
            with tarfile.open(path) as archive:
                archive.extractall(tree / path.name.partition(".tar")[0], filter="data")
    return tree


def _stages(sources: tuple[Path, ...], out: Path) -> dict[str, float]:
    raw, collecting = _timed(lambda: collect(CollectConfig(sources=sources, out_dir=out / "raw")))
    _, cleaning = _timed(lambda: clean(CleanConfig(raw_dir=out / "raw", out_dir=out / "documents")))
    n_mb = raw.counts["bytes"] / 1e6
    return {
        "mb": n_mb,
        "files": raw.counts["documents"],
        "collect_mb_s": n_mb / collecting,
        "clean_mb_s": n_mb / cleaning,
        "both_mb_s": n_mb / (collecting + cleaning),
    }


def _timed(stage: Callable[[], Artifact]) -> tuple[Artifact, float]:
    started = time.perf_counter()
    artifact = stage()
    return artifact, time.perf_counter() - started


def _loops(raw_dir: Path) -> dict[str, float]:
    """GB/s of processor time of the loops over bytes, in one process."""
    from codling.corpus import byte_kernel

    tables = [pq.read_table(p, columns=["content"]) for p in sorted(raw_dir.glob("documents-*"))]
    column = pa.concat_tables(tables[:4])["content"].combine_chunks()
    data, offsets = _buffers(column)
    n_gb = len(data) / 1e9
    texts = column.to_pylist()[:2000]
    n_text = sum(len(text.encode()) for text in texts) / 1e9
    loops: dict[str, tuple[Callable[[], object], float]] = {
        "line_stats_gb_s": (lambda: byte_kernel.count(data, offsets), n_gb),
        "marks_gb_s": (lambda: byte_kernel.mark(data, offsets, ANCHORS), n_gb),
        "line_stats_plain_gb_s": (lambda: [line_stats(text) for text in texts], n_text),
    }
    return {name: size / _processor_seconds(loop) for name, (loop, size) in loops.items()}


def _processor_seconds(loop: Callable[[], object]) -> float:
    loop()
    seconds = []
    for _ in range(5):
        started = time.process_time()
        loop()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    if not where.is_dir() or not any(where.iterdir()):
        from corpus_sources import fetch

        fetch(where)
    main(where)
