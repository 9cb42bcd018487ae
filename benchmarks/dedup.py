"""Near-duplicate removal: MB of text per second, recall on planted pairs, peak memory, a peer.

Input: archives (`benchmarks/corpus_sources.py` fetches some), of which every file in a known
language becomes a document. Output: one JSON line per measurement.

    python benchmarks/dedup.py --archives /tmp/corpus-sources --work /tmp/dedup [--peer PYTHON]

cold = a fresh process, interpreter and imports included, with the input dropped from the page
cache; warm = the stage again in that process. CPU seconds are given too: on a shared machine they
say more than the clock. The peer is datatrove's four-stage MinHash pipeline (5-grams, 14 bands of
8 rows) on the first `--peer-mb` of the same Parquet files, in the interpreter PYTHON of an
environment that has `datatrove[processing]` and spaCy.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from codling.core.artifact import Draft, produce
from codling.core.languages import detect
from codling.core.shards import Shard, read_rows
from codling.corpus import minhash
from codling.corpus.dedup import dedup
from codling.corpus.document import DOCUMENT_SCHEMA
from codling.corpus.graph_config import DedupConfig

SHARD_BYTES = 16_000_000


def main() -> None:
    """Build the corpora, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer", help="python of an environment with datatrove")
    parser.add_argument("--peer-mb", type=int, default=30)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one_run(given.one, given.work)
        return
    corpus = build(given.work / "corpus", archived(given.archives))
    report("recall on planted pairs", recall(given.work))
    if given.runs:
        report("codling dedup --level file", speed(corpus, given.work, given.runs))
    if given.peer:
        report("datatrove minhash", peer(corpus, given.work, given.peer, given.peer_mb))


def report(what: str, values: dict[str, Any]) -> None:
    """One line."""
    print(json.dumps({"what": what, **values}), flush=True)


def speed(corpus: Path, work: Path, runs: int) -> dict[str, Any]:
    """Cold and warm rates over the stage, Parquet read to Parquet written."""
    n_bytes = sum(text_bytes(p) for p in sorted(corpus.glob("documents-*.parquet")))
    cold, warm, cpu, peak = [], [], [], 0
    for _ in range(runs):
        drop_from_cache(corpus)
        shutil.rmtree(work / "out", ignore_errors=True)
        command = [sys.executable, __file__, "--archives", ".", "--one", str(corpus)]
        started = time.perf_counter()
        done = subprocess.run(
            [*command, "--work", str(work)], capture_output=True, text=True, check=True
        )
        cold.append(time.perf_counter() - started)
        inside = json.loads(done.stdout.splitlines()[-1])
        warm.append(inside["warm_s"])
        cpu.append(inside["warm_cpu_s"])
        peak = max(peak, inside["peak_mb"])
    # The process does the stage twice; the second, warm run is not part of the cold one.
    cold_s = statistics.median(c - w for c, w in zip(cold, warm, strict=True))
    warm_s, cpu_s = statistics.median(warm), statistics.median(cpu)
    return {
        "mb": round(n_bytes / 1e6, 1),
        "cold_mb_per_s": round(n_bytes / 1e6 / cold_s, 1),
        "warm_mb_per_s": round(n_bytes / 1e6 / warm_s, 1),
        "warm_cpu_s": round(cpu_s, 2),
        "mb_per_cpu_s": round(n_bytes / 1e6 / cpu_s, 1),
        "peak_rss_mb": peak,
        **inside["counts"],
    }


def one_run(corpus: Path, work: Path) -> None:
    """In a process of its own: the stage once cold, once warm."""
    dedup(DedupConfig(documents_dir=corpus, out_dir=work / "out", level="file"))
    shutil.rmtree(work / "out")
    started, cpu = time.perf_counter(), time.process_time()
    made = dedup(DedupConfig(documents_dir=corpus, out_dir=work / "out", level="file"))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        json.dumps({"warm_s": seconds, "warm_cpu_s": cpu, "peak_mb": peak, "counts": made.counts})
    )


def recall(work: Path) -> dict[str, Any]:
    """Share of planted pairs found, by their exact similarity; removed ones below the threshold."""
    generator = random.Random(7)
    words = [f"name_{i}" for i in range(20_000)]
    rows, truth = [], {}
    for i in range(6000):
        base = generator.choices(words, k=generator.choice((60, 150, 400, 1000)))
        edits = round(generator.uniform(0, 0.045) * len(base))
        near = list(base)
        for place in generator.sample(range(len(base)), edits):
            near[place] = generator.choice(words)
        texts = [" ".join(base), " ".join(near)]
        truth[f"p{i}"] = minhash.jaccard_reference(
            *(minhash.shingles(t.encode()).tolist() for t in texts)
        )
        rows += [row(f"p{i}", f"{j}.py", text) for j, text in enumerate(texts)]
    planted = build(work / "planted", iter(rows))
    shutil.rmtree(work / "out", ignore_errors=True)
    made = dedup(DedupConfig(documents_dir=planted, out_dir=work / "out", level="file"))
    found = {r["repo"] for r in read_rows(made, "dropped")}
    ranges = {"0.70-0.80": (0.7, 0.8), "0.80-0.85": (0.8, 0.85), "above 0.85": (0.85, 1.01)}
    inside = {k: [p for p, s in truth.items() if a <= s < b] for k, (a, b) in ranges.items()}
    shares = {k: round(len(found & set(ps)) / len(ps), 4) for k, ps in inside.items()}
    wrong = sum(truth[p] < 0.7 for p in found)
    return {**shares, "pairs": {k: len(v) for k, v in inside.items()}, "removed_below": wrong}


def peer(corpus: Path, work: Path, python: str, limit_mb: int) -> dict[str, Any]:
    """datatrove's pipeline in its own interpreter, on the first shards of the corpus."""
    chosen, n_bytes = [], 0
    for path in sorted(corpus.glob("documents-*.parquet")):
        if n_bytes < limit_mb * 1e6:
            chosen.append(str(path))
            n_bytes += text_bytes(path)
    shutil.rmtree(work / "peer", ignore_errors=True)
    (work / "peer" / "in").mkdir(parents=True)
    for path in chosen:
        shutil.copy(path, work / "peer" / "in")
    script = Path(__file__).with_name("dedup_peer.py")
    started = time.perf_counter()
    subprocess.run([python, str(script), str(work / "peer")], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    return {"mb": round(n_bytes / 1e6, 1), "mb_per_s": round(n_bytes / 1e6 / seconds, 2)}


def build(place: Path, rows: Iterator[dict[str, Any]]) -> Path:
    """An artefact of kind "documents" with shards of some MB."""

    def work(draft: Draft) -> None:
        waiting: list[dict[str, Any]] = []
        number = size = 0
        for each in rows:
            waiting.append(each)
            size += each["n_bytes"]
            if size > SHARD_BYTES:
                Shard(draft.path, number).write_rows("documents", waiting, DOCUMENT_SCHEMA)
                waiting, size, number = [], 0, number + 1
        Shard(draft.path, number).write_rows("documents", waiting, DOCUMENT_SCHEMA)

    return produce(
        place, kind="documents", version=1, config={"name": place.name}, inputs=[], work=work
    ).path


def archived(folder: Path) -> Iterator[dict[str, Any]]:
    """The text files of all archives."""
    for path in sorted(folder.iterdir()):
        if not re.search(r"\.(tar\.\w+|tgz)$", path.name):
            continue
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and 0 < member.size < 1_000_000:
                    file = archive.extractfile(member)
                    data = file.read() if file else b""
                    if detect(member.name, data[:8192]) and b"\0" not in data:
                        yield row(path.name, member.name, data.decode("utf-8", "replace"))


def row(repo: str, path: str, text: str) -> dict[str, Any]:
    """A row of DOCUMENT_SCHEMA."""
    data = text.encode()
    known = {"source": "bench", "repo": repo, "path": path, "language": "python", "content": text}
    fixed = {"license": "MIT", "license_from": "none", "split": "train", "n_redactions": 0}
    return known | fixed | {"n_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def text_bytes(path: Path) -> int:
    """Bytes of text in a table of documents."""
    return int(pc.sum(pq.read_table(path, columns=["n_bytes"])["n_bytes"]).as_py())


def drop_from_cache(folder: Path) -> None:
    """Make the next read of a folder's files come from the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
