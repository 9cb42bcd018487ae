"""The rows dedup and recall of benchmarks/corpus.py: codling's stage beside datatrove's pipeline.

Input: an artefact "documents". Output: MB of text per second, cold and warm, for the peer as well,
and their ratios; shares of planted pairs that are found. The peer is datatrove's four-stage MinHash
pipeline (5-grams, 14 bands of 8 rows, two workers) on the same Parquet files (corpus_peer.py).
"""

import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from codling.core.artifact import Draft, open_artifact, produce
from codling.core.shards import Shard, read_rows
from codling.corpus.dedup import DedupConfig, dedup
from codling.corpus.duplicates import minhash
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA

SHARD_BYTES = 16_000_000


def turn(documents: Path, work: Path, peer: Path | None, peer_mb: int) -> dict[str, Any]:
    """One run of ours over all documents and, with a peer, one of each over a part."""
    found = {f"whole_{name}": value for name, value in ours(documents, work).items()}
    if peer is None:
        return found
    part = some(documents, work / "part", peer_mb)
    theirs = peer_mb_s(part, work, peer)
    own = ours(part, work)
    return (
        found
        | {f"part_{name}": value for name, value in own.items()}
        | {
            "peer_mb_s": theirs,
            "cold_ratio": round(own["cold_mb_s"] / theirs, 1),
            "warm_ratio": round(own["warm_mb_s"] / theirs, 1),
        }
    )


def ours(documents: Path, work: Path) -> dict[str, Any]:
    """A fresh process does the stage twice; the second, warm run is not part of the cold one."""
    mb = sum(text_bytes(p) for p in documents.glob("documents-*.parquet")) / 1e6
    drop_from_cache(documents)
    shutil.rmtree(work / "unique", ignore_errors=True)
    started = time.perf_counter()
    command = [sys.executable, __file__, str(documents), str(work / "unique")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    inside = json.loads(done.stdout.splitlines()[-1])
    return {
        "mb": round(mb, 1),
        "cold_mb_s": round(mb / (seconds - inside["warm_s"]), 1),
        "warm_mb_s": round(mb / inside["warm_s"], 1),
        "warm_mb_per_cpu_s": round(mb / inside["warm_cpu_s"], 1),
        "peak_rss_mb": inside["peak_mb"],
        "documents": inside["counts"]["documents"],
        "dropped": inside["counts"]["dropped"],
    }


def twice(documents: Path, out: Path) -> dict[str, Any]:
    """The stage once cold and once warm."""
    config = DedupConfig(documents_dir=documents, out_dir=out, level="file")
    dedup(config)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    shutil.rmtree(out)
    started, cpu = time.perf_counter(), time.process_time()
    made = dedup(config)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    shutil.rmtree(out)
    return {"warm_s": seconds, "warm_cpu_s": cpu, "peak_mb": peak, "counts": made.counts}


def some(documents: Path, place: Path, limit_mb: int) -> Path:
    """An artefact of the first shards that hold so many MB of text."""

    def work(draft: Draft) -> None:
        n_bytes = 0
        for path in sorted(documents.glob("documents-*.parquet")):
            if n_bytes < limit_mb * 1e6:
                shutil.copy(path, draft.path)
                n_bytes += text_bytes(path)

    whole = open_artifact(documents, "documents")
    config = {"mb": limit_mb}
    return produce(
        place, kind="documents", version=1, config=config, inputs=[whole], work=work
    ).path


def peer_mb_s(documents: Path, work: Path, python: Path) -> float:
    """datatrove's pipeline in its own interpreter, on copies of the same files."""
    shutil.rmtree(work / "peer", ignore_errors=True)
    (work / "peer" / "in").mkdir(parents=True)
    mb = 0.0
    for path in documents.glob("documents-*.parquet"):
        shutil.copy(path, work / "peer" / "in")
        mb += text_bytes(path) / 1e6
    script = Path(__file__).with_name("corpus_peer.py")
    started = time.perf_counter()
    subprocess.run([python, str(script), str(work / "peer")], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    shutil.rmtree(work / "peer")
    return round(mb / seconds, 3)


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
    shutil.rmtree(work / "unique", ignore_errors=True)
    made = dedup(DedupConfig(documents_dir=planted, out_dir=work / "unique", level="file"))
    found = {r["repo"] for r in read_rows(made, "dropped")}
    ranges = {"0.70-0.80": (0.7, 0.8), "0.80-0.85": (0.8, 0.85), "above 0.85": (0.85, 1.01)}
    inside = {k: [p for p, s in truth.items() if a <= s < b] for k, (a, b) in ranges.items()}
    shares = {k: round(len(found & set(ps)) / len(ps), 4) for k, ps in inside.items()}
    wrong = sum(truth[p] < 0.7 for p in found)
    return {**shares, "pairs": {k: len(v) for k, v in inside.items()}, "removed_below": wrong}


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


def row(repo: str, path: str, text: str) -> dict[str, Any]:
    """A row of DOCUMENT_SCHEMA."""
    data = text.encode()
    known = {"source": "bench", "repo": repo, "path": path, "language": "python", "content": text}
    fixed = {"license": "MIT", "license_from": "none", "split": "train", "n_redactions": 0}
    return known | fixed | {"n_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def text_bytes(path: Path) -> int:
    """Bytes of text in a table of documents."""
    return int(pc.sum(pq.read_table(path, columns=["n_bytes"])["n_bytes"]).as_py() or 0)


def drop_from_cache(folder: Path) -> None:
    """Make the next read of a folder's files come from the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    print(json.dumps(twice(Path(sys.argv[1]), Path(sys.argv[2]))))
