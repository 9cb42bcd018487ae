"""Stage card: what a corpus is made of, as one HTML page and as JSON.

Input: a run folder, or one artefact in it. The card describes the last artefact of the path
(tokens, else samples, else documents) and all that it was made from: composition by language,
licence and repository, what was dropped and why, duplicates, redactions, tokens, and samples to
read, which a hash chooses. Output: artefact "card" with card.json and card.html, which fetches
nothing when it is opened.

Not here: any judgement of a file; everything is read from the artefacts of the stages.
"""

import hashlib
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import polars as pl

from codling import __version__
from codling.core.artifact import MANIFEST, Artifact, open_artifact, read_own
from codling.core.errors import SourceError
from codling.core.files import write_json, write_text
from codling.core.lineage import walk
from codling.core.ranges import Range, Ranged, Seed
from codling.core.recipe import aside
from codling.core.shards import read_rows
from codling.core.stage import Work, stage
from codling.report.page import render_page
from codling.report.tallies import Drop, count_redactions, read_drops

KINDS = ("tokens", "samples", "documents", "raw")
"""What a card may describe, the last station first."""
DUPLICATE_RULES = ("duplicate", "near-duplicate")
MAX_ROWS = 40
"""Rows of a table on the page; card.json holds all."""
SAMPLE_CHARS = 1600
"""Characters shown of a sample."""


@dataclass(frozen=True, kw_only=True)
class CardConfig(Ranged):
    """Settings of `codling data card`."""

    run_dir: Path = aside()
    """Folder of the run, or of the artefact to describe."""
    out_dir: Path = aside()
    """Where card.html and card.json go."""
    n_samples: Annotated[int, Range(0, 10_000)] = 10
    """Samples to read."""
    seed: Seed = 0
    """Decides which samples are shown."""


@dataclass(frozen=True)
class Group:
    """Files and bytes of one language, licence, repository or rule."""

    name: str
    n_files: int
    n_bytes: int


@dataclass(frozen=True)
class BenchmarkHit:
    """Documents that held texts of one file of benchmarks."""

    benchmark: str
    n_documents: int
    example: str
    excerpt: str


@dataclass(frozen=True)
class Excerpt:
    """The beginning of one file."""

    name: str
    language: str
    license: str
    n_chars: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """The contents of card.json."""

    name: str
    n_documents: int
    n_bytes: int
    splits: list[Group]
    languages: list[Group]
    licenses: list[Group]
    repositories: list[Group]
    dropped: list[Drop]
    duplicates: list[Group]
    hits: list[BenchmarkHit]
    left_out: list[str]
    """Stations that the documents did not pass, and why."""
    redactions: dict[str, int]
    tokens: dict[str, dict[str, int]]
    """Per artefact of tokens: its tokens by split."""
    language_tokens: dict[str, int]
    """Training tokens by language; those of a sample are divided by its files' characters."""
    mixture: dict[str, float] = field(default_factory=dict)
    """How often each part of a mixture is repeated."""
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    excerpts: list[Excerpt] = field(default_factory=list)


@stage("card", version=2)
def card(config: CardConfig) -> Work:
    """What a corpus is made of: composition, licences, drops, redactions, tokens, samples.

    Raises SourceError if the folder holds no corpus, or several that do not belong together.

    Example:
        codling data card --run-dir runs/app --out-dir runs/app/card
    """
    used = lineage(config.run_dir)
    draft = yield used
    made = describe(used, config)
    write_json(draft.file("card.json"), asdict(made))
    write_text(draft.file("card.html"), render(made))
    draft.counts |= {"documents": made.n_documents, "bytes": made.n_bytes}


def lineage(run_dir: Path) -> list[Artifact]:
    """The artefact that a card describes, and those that it was made from, nearest first."""
    if (run_dir / MANIFEST).is_file():
        last = open_artifact(run_dir)
        if last.kind not in KINDS:
            raise SourceError(f"{run_dir} holds {last.kind}, not a corpus; name the run's folder")
    else:
        last = _last(run_dir)
    found = [a.artifact for a in walk(last) if a.artifact is not None and a.artifact.kind in KINDS]
    return sorted(found, key=lambda a: KINDS.index(a.kind))


def describe(used: Sequence[Artifact], config: CardConfig) -> Card:
    """The card of artefacts that belong together."""
    final = _final_documents(used)
    table = _composition(final)
    readable = [a for a in used if a.kind == "samples"][:1] or final
    mixtures = [a.counts["repeats"] for a in used if "repeats" in a.counts]
    return Card(
        name=config.run_dir.resolve().name,
        n_documents=int(table["n_files"].sum()),
        n_bytes=int(table["n_bytes"].sum()),
        splits=_groups(table, "split"),
        languages=_groups(table, "language"),
        licenses=_groups(table, "license"),
        repositories=_groups(table, "repository"),
        dropped=(dropped := [d for a in used for d in read_drops(a)]),
        duplicates=_duplicates(dropped),
        hits=[h for a in used for h in _hits(a)],
        left_out=[n for a in used for n in a.manifest.config.get("left_out", ())],
        redactions=dict(count_redactions(used).most_common()),
        tokens={a.path.name: _tokens(a) for a in used if a.kind == "tokens"},
        language_tokens=_language_tokens(used),
        mixture=mixtures[0] if mixtures else {},
        artifacts=[
            {"name": a.path.name, "kind": a.kind, "id": a.id, "seconds": a.manifest.seconds}
            for a in used
        ],
        excerpts=[e for a in readable for e in _excerpts(a, config)][: config.n_samples],
    )


def render(made: Card) -> str:
    """The card as a page."""
    return render_page(
        "codling.report", "card.html", card=made, version=__version__, max_rows=MAX_ROWS
    )


def _last(run_dir: Path) -> Artifact:
    """The one artefact of a run's corpus from which no other was made."""
    folders = sorted({p.parent for p in run_dir.glob(f"*/{MANIFEST}")})
    folders = [f for f in folders if not f.name.endswith((".previous", ".partial"))]
    found = [a for a in map(open_artifact, folders) if a.kind in KINDS]
    for kind in KINDS:
        taken = {i.id for a in found for i in a.manifest.inputs}
        ends = [a for a in found if a.kind == kind and a.id not in taken]
        if len(ends) > 1:
            names = ", ".join(a.path.name for a in ends)
            raise SourceError(f"{run_dir} holds several ends of kind {kind} ({names}); name one")
        if ends:
            return ends[0]
    raise SourceError(f"{run_dir} holds no corpus; run `codling data collect` first")


def _final_documents(used: Sequence[Artifact]) -> list[Artifact]:
    """The documents that samples were made from: those that no other documents were made from."""
    for kind in ("documents", "raw"):
        chosen = [a for a in used if a.kind == kind]
        if chosen:
            taken = {i.id for a in chosen for i in a.manifest.inputs}
            return [a for a in chosen if a.id not in taken]
    raise SourceError(f"the documents behind {used[0].path} are no longer there")


def _composition(final: Sequence[Artifact]) -> pl.DataFrame:
    """Files and bytes by repository, language, licence and split."""
    keys = ["repository", "language", "license", "split"]
    columns = ["source", "repo", "language", "license", "split", "n_bytes"]
    parts = [
        pl.read_parquet(path, columns=columns)
        .with_columns(repository=_repository())
        .group_by(keys)
        .agg(n_files=pl.len().cast(pl.Int64), n_bytes=pl.col("n_bytes").sum())
        for artifact in final
        for path in artifact.files("documents-*.parquet")
    ]
    empty = dict.fromkeys(keys, pl.String) | {"n_files": pl.Int64, "n_bytes": pl.Int64}
    return pl.concat([pl.DataFrame(schema=empty), *parts])


def _repository() -> pl.Expr:
    same = pl.col("source") == pl.col("repo")
    return pl.when(same).then("repo").otherwise(pl.concat_str("source", "repo", separator=":"))


def _groups(table: pl.DataFrame, column: str) -> list[Group]:
    """The table's groups of one column, largest first."""
    sums = table.group_by(column).agg(pl.col("n_files").sum(), pl.col("n_bytes").sum())
    return [Group(*row) for row in sums.sort([-pl.col("n_bytes"), column]).iter_rows()]


def _hits(artifact: Artifact) -> Iterator[BenchmarkHit]:
    """What `decontaminate` found, by benchmark, the most documents first."""
    n_documents: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    for row in read_rows(artifact, "hits"):
        name = row["benchmark"]
        n_documents[name] += 1
        first.setdefault(name, (f"{row['repo']}/{row['path']}", row["excerpt"]))
    for name, n in n_documents.most_common():
        yield BenchmarkHit(name, n, *first[name])


def _duplicates(dropped: Sequence[Drop]) -> list[Group]:
    return [
        Group(
            rule,
            sum(d.n_files for d in dropped if d.rule == rule),
            sum(d.n_bytes for d in dropped if d.rule == rule),
        )
        for rule in DUPLICATE_RULES
    ]


def _tokens(artifact: Artifact) -> dict[str, int]:
    meta = read_own(artifact.path / "meta.json")
    return {name: split["n_tokens"] for name, split in meta["splits"].items()}


def _language_tokens(used: Sequence[Artifact]) -> dict[str, int]:
    """Training tokens by language, the most first; nothing where tokens or samples are missing."""
    streams = [a for a in used if a.kind == "tokens"]
    samples = {i.id for a in streams for i in a.manifest.inputs if i.kind == "samples"}
    shares: dict[str, dict[str, float]] = {}
    for artifact in used:
        if artifact.id in samples:
            columns = ["id", "split", "languages", "starts", "content"]
            for row in read_rows(artifact, "samples", columns):
                if row["split"] == "train":
                    shares[row["id"]] = _shares(row)
    tokens: defaultdict[str, float] = defaultdict(float)
    for artifact in streams:
        for row in read_rows(artifact, "index", ["split", "sample_id", "length"]):
            if row["split"] == "train":
                for language, share in shares.get(row["sample_id"], {}).items():
                    tokens[language] += share * row["length"]
    ranked = sorted(tokens.items(), key=lambda item: (-item[1], item[0]))
    return {language: round(n) for language, n in ranked}


def _shares(row: dict[str, Any]) -> dict[str, float]:
    """The share of each language in a sample's characters."""
    ends = [*row["starts"][1:], len(row["content"])]
    shares: defaultdict[str, float] = defaultdict(float)
    for language, start, end in zip(row["languages"], row["starts"], ends, strict=True):
        shares[language] += (end - start) / max(1, len(row["content"]))
    return shares


def _excerpts(artifact: Artifact, config: CardConfig) -> list[Excerpt]:
    """Files of the training split, drawn by hash, a file of twice the size twice as often."""
    is_samples = artifact.kind == "samples"
    name = "samples" if is_samples else "documents"
    columns = ["split", "repo", "paths", "starts", "content"]
    rows = read_rows(
        artifact, name, columns if is_samples else ["split", "repo", "path", "n_bytes"]
    )
    keys = (
        (_draw(f"{row['repo']}/{path}", size, config.seed), i, file)
        for i, row in enumerate(rows)
        if row["split"] == "train"
        for file, (path, size) in enumerate(_sizes(row) if is_samples else _size(row))
    )
    drawn = heapq.nsmallest(config.n_samples, keys)
    places = {(i, file): rank for rank, (_, i, file) in enumerate(drawn)}
    wanted = {i for i, _ in places}
    shown: dict[int, Excerpt] = {}
    for i, row in enumerate(read_rows(artifact, name) if wanted else ()):
        for file in range(len(row["paths"]) if is_samples else 1) if i in wanted else ():
            if (i, file) in places:
                found = _of_sample(row, file) if is_samples else _of_document(row)
                shown[places[i, file]] = found
    return [shown[rank] for rank in sorted(shown)]


def _draw(name: str, size: int, seed: int) -> float:
    """A sort key: the smallest ones are a draw without replacement, weighted by `size`."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    uniform = (int.from_bytes(digest[:8]) + 1) / (2**64 + 1)
    return -math.log(uniform) / max(1, size)


def _sizes(row: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The files of a sample and their characters."""
    ends = [*row["starts"][1:], len(row["content"])]
    for path, start, end in zip(row["paths"], row["starts"], ends, strict=True):
        yield path, end - start


def _size(row: dict[str, Any]) -> Iterator[tuple[str, int]]:
    yield row["path"], row["n_bytes"]


def _of_sample(row: dict[str, Any], file: int) -> Excerpt:
    start = row["starts"][file]
    end = [*row["starts"][1:], len(row["content"])][file]
    n_files = len(row["paths"])
    where = f" (file {file + 1} of the {n_files} of its sample)" if n_files > 1 else ""
    return Excerpt(
        f"{row['repo']}/{row['paths'][file]}{where}",
        row["languages"][file],
        row["licenses"][file],
        end - start,
        _beginning(row["content"][start:end]),
    )


def _of_document(row: dict[str, Any]) -> Excerpt:
    name = f"{row['repo']}/{row['path']}"
    text = row["content"]
    return Excerpt(name, row["language"], row["license"], len(text), _beginning(text))


def _beginning(text: str) -> str:
    """Whole lines of about SAMPLE_CHARS characters."""
    if len(text) <= SAMPLE_CHARS:
        return text
    return text[: text.rfind("\n", SAMPLE_CHARS // 2, SAMPLE_CHARS)] + "\n..."
