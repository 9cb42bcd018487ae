"""What the base model's corpus is made of, as the Markdown tables of docs/base-model.md.

    python tools/base_card.py CORPUS > card.md

Input: the folder that tools/base_corpus.py filled. Output: files and bytes after every station, and
of what is trained on (the mixture, repeats counted) bytes per language, per licence and per source;
the sources are named by registry, name and version, as in tools/base_sources.tsv.

Not here: single files: `codling trace CORPUS/tokens --files` lists each with its licence and hash.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

GROUPS = ("pypi", "npm", "debian", "docs")
STATIONS = ("raw", "documents", "clean", "decontaminated", "unique", "screened")
REDACTED = "clean"
_MB = 1_000_000


class File(NamedTuple):
    """A document of the corpus."""

    group: str
    registry: str
    source: str
    """Name and version: `httpcore@1.0.9`."""
    language: str
    license: str
    n_bytes: int


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--rows", type=int, default=30, help="of each table, the rest together")
    options = parser.parse_args()
    sys.stdout.write("\n".join(card(options.corpus, options.rows)) + "\n")
    return 0


def card(corpus: Path, n_rows: int) -> Iterator[str]:
    """The lines of the tables."""
    groups = [name for name in GROUPS if (corpus / name).is_dir()]
    yield from table(("group", "station", "files", "MB", "left out, by rule"), stations(corpus))
    files = {}
    for name in groups:
        files |= documents(corpus / name, name)
    mixed = mixture(corpus / "samples", files)
    total = sum(mixed.values())
    for title, key in (("language", "language"), ("licence", "license"), ("group", "group")):
        yield from ("", *table((title, "MB", "share"), shares(mixed, key, n_rows, total)))
    sources = {(file.registry, file.source) for file in mixed}
    yield from ("", f"{len(sources):,} sources, {total / _MB:,.1f} MB; the largest:", "")
    yield from table(("source", "MB", "share"), shares(mixed, "source", n_rows, total))


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """A table in Markdown."""
    for row in (head, tuple("---" for _ in head), *rows):
        yield f"| {' | '.join(row)} |"


def stations(corpus: Path) -> Iterator[tuple[str, ...]]:
    """Files and bytes after each station of each group, and what it left out."""
    for name in GROUPS:
        for station in STATIONS:
            folder = corpus / name / station
            if not folder.is_dir():
                continue
            counts = json.loads((folder / "manifest.json").read_text())["counts"]
            rules = dict(counts.get("dropped_by_rule", {}))
            if not rules and counts.get("dropped"):
                rules = {"benchmark" if "hits" in counts else "near-duplicate": counts["dropped"]}
            if station == REDACTED and counts.get("redactions"):
                rules["(redactions)"] = sum(counts["redactions"].values())
            told = ", ".join(f"{rule} {n:,}" for rule, n in ordered(rules)[:6])
            n_bytes = sum(
                pc.sum(pq.read_table(path, columns=["n_bytes"])["n_bytes"]).as_py() or 0
                for path in folder.glob("documents-*.parquet")
            )
            yield name, station, f"{counts['documents']:,}", f"{n_bytes / _MB:,.1f}", told


def documents(folder: Path, group: str) -> dict[str, File]:
    """By their hash the documents of a group that went into samples."""
    last = next(s for s in reversed(STATIONS) if (folder / s).is_dir())
    return dict(read_documents(folder / last, group))


def read_documents(folder: Path, group: str) -> Iterator[tuple[str, File]]:
    """Hash and description of every document of a station, without its text."""
    columns = ["source", "repo", "language", "license", "n_bytes", "sha256"]
    for path in sorted(folder.glob("documents-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=columns):
            for row in batch.to_pylist():
                # Running text comes from tables that are called after the registries.
                registry = row["source"] if group == "docs" else group
                source = row["repo"].partition("~~")[0]
                about = row["language"], row["license"], row["n_bytes"]
                yield row["sha256"], File(group, registry, source, *about)


def mixture(samples: Path, files: Mapping[str, File]) -> Counter[File]:
    """Bytes of the documents in the training split of the samples, as often as each is there."""
    found: Counter[File] = Counter()
    for path in sorted(samples.glob("samples-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(columns=["id", "split", "sha256s"]):
            for row in batch.to_pylist():
                if row["split"] == "train":
                    for sha256 in row["sha256s"]:
                        file = files[sha256]
                        found[file] += file.n_bytes
    return found


def shares(
    mixed: Mapping[File, int], key: str, n_rows: int, total: int
) -> Iterator[tuple[str, ...]]:
    """The rows of a table: most bytes first, what is beyond `n_rows` in one."""
    counts: Counter[str] = Counter()
    for file, n_bytes in mixed.items():
        counts[getattr(file, key)] += n_bytes
    rows = ordered(counts)
    if rest := rows[n_rows:]:
        rows = [*rows[:n_rows], (f"{len(rest):,} others", sum(n for _, n in rest))]
    for name, n_bytes in rows:
        yield name, f"{n_bytes / _MB:,.1f}", f"{n_bytes / total:.1%}"


def ordered(counts: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Largest first, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


if __name__ == "__main__":
    raise SystemExit(main())
