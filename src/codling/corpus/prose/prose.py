"""Stage prose: running text in English or Chinese -> documents, for the mixture beside the code.

Input: dumps of StackExchange (Posts.xml), folders and files of Markdown and plain text, corpora in
Parquet or JSONL. Output: artefact "documents" as `clean` makes it, with the tables documents
(language "text"), dropped, redactions, and posts (post, score, licence and author of what threads
are made of: CC BY-SA asks for attribution). Rules, in this order:

    link, too-large, not-text, empty            not read; neither UTF-8 nor GB 18030; nothing
    not-english, not-chinese, short             the language asked for
    license-unknown, license-not-permissive     the licence gate (licenses/notices.py)

Texts are cut into pieces between paragraphs. Not here: near and exact duplicates (dedup.py), and
the filters for code, whose limits on lines running text would not pass.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa

from codling.core.artifact import SHARDS, sha256_of
from codling.core.errors import ConfigError, SourceError
from codling.core.inputs import source_input
from codling.core.languages.table import PROSE
from codling.core.ranges import Count, ProperShare, Range, Seed, check_order
from codling.core.recipe import aside
from codling.core.shards import Counts, Parallel, Shard, cut, map_shards
from codling.core.stage import Work, stage
from codling.corpus.heldout import is_heldout_unit
from codling.corpus.licenses.notices import (
    UNKNOWN,
    LicenseConfig,
    Licenses,
    allowed_licenses,
    license_reason,
    read_notices,
)
from codling.corpus.prose import stackexchange
from codling.corpus.prose.text import Kind, language_reason, pieces
from codling.corpus.redaction.redact import Edit, RedactConfig, redact
from codling.corpus.sources import dumps, folders
from codling.corpus.sources.decode import decode
from codling.corpus.sources.repository import Entry, Repository
from codling.corpus.tables.counts import document_counts, largest_rule, nest_counts
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA, DROPPED_SCHEMA, REDACTION_SCHEMA
from codling.corpus.tables.writer import new_table

TEXT_ENDINGS = (".md", ".markdown", ".rst", ".txt")
"""Files of a folder that are running text."""
POSTS_PER_REPO = 10_000
"""Threads are grouped by their number, so that no group is too large for the stages after."""
POSTS_SCHEMA = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("post", pa.int64(), nullable=False),
        pa.field("score", pa.int64(), nullable=False),
        pa.field("license", pa.string(), nullable=False),
        pa.field("author", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ProseConfig(Parallel):
    """Settings of `codling data prose`."""

    sources: tuple[Path, ...] = aside()
    """Posts.xml of StackExchange (also .gz, .zip), folders of .md, .rst and .txt, single text
    files, .parquet and .jsonl files with content or text."""
    out_dir: Path = aside()
    """Folder of the artefact "documents"."""
    kind: Kind = "english"
    """The language that texts must be in."""
    license: str = ""
    """SPDX expression that holds where a source says nothing."""
    licenses: LicenseConfig = field(default_factory=LicenseConfig)
    redact: RedactConfig = field(default_factory=RedactConfig)
    columns: tuple[str, ...] = ()
    """Columns of corpora that have other names, as content=body or path=address."""
    min_chars: Count = 100
    """Shorter texts are dropped."""
    max_chars: Count = 100_000
    """Longer texts are cut between paragraphs."""
    max_file_bytes: Count = 50_000_000
    """Larger files of text are dropped without being read."""
    min_score: Annotated[int, Range(-1_000_000, 1_000_000)] = 1
    """Least score of a question, and of an answer that was not accepted."""
    max_answers: Count = 3
    """Most answers of a question: the accepted one and the best."""
    heldout_fraction: ProperShare = 0.01
    """Share of the texts that is kept from training, by a hash."""
    seed: Seed = 0
    """Seed of the choice of held-out texts."""
    shard_bytes: Count = 64_000_000
    """Source bytes per shard of work."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order(self, "min_chars", "max_chars")
        if not self.sources:
            raise ConfigError("prose: name at least one source")


@dataclass(frozen=True)
class Text:
    """One text before it is judged."""

    repo: str
    path: str
    content: str
    license: str
    license_from: str
    changed_at: int | None = None
    posts: tuple[stackexchange.Post, ...] = ()
    reason: tuple[str, str] | None = None
    """Why there is no content: the rule that drops it and the value."""


@dataclass(frozen=True)
class ProseTask:
    """The work of one shard: a bucket of posts, a corpus, or files of a folder."""

    source: str
    path: Path
    config: ProseConfig
    entries: tuple[Entry, ...] = ()
    licenses: Licenses | None = None
    """Of the files of a folder."""
    is_bucket: bool = False
    """Posts in JSON lines, which read_dump would not understand."""


@stage("documents", version=2)
def prose(config: ProseConfig) -> Work:
    """Running text in English or Chinese: decoded, cut at paragraphs, licensed, redacted.

    Raises SourceError for a source that is missing, damaged or no text.

    Example:
        codling data prose stackoverflow/Posts.xml --licenses.also CC-BY-SA-4.0 \
--out-dir runs/english/documents
    """
    dumps.columns_of(config.columns)
    named = _name_sources(config.sources)
    sources = [_open_source(path, name) for path, name in named]
    draft = yield [
        source_input(path, _identity(name, each))
        for each, (path, name) in zip(sources, named, strict=True)
    ]
    tasks = list(_tasks(sources, named, config, draft.path / SHARDS))
    counts = map_shards(draft, tasks, prose_shard, config, label="prose")
    if counts["documents"] == 0:
        raise SourceError(f"prose: no text is left; {_largest_rule(counts)}")
    draft.counts |= nest_counts(counts)


def prose_shard(task: ProseTask, shard: Shard) -> Counts:
    """Judge the texts of one shard and write its rows; returns what was counted."""
    counts: Counter[str] = Counter()
    allowed = allowed_licenses(task.config.licenses)
    with (
        new_table(shard.path("documents"), DOCUMENT_SCHEMA) as documents,
        new_table(shard.path("dropped"), DROPPED_SCHEMA) as dropped,
        new_table(shard.path("redactions"), REDACTION_SCHEMA) as redactions,
        new_table(shard.path("posts"), POSTS_SCHEMA) as posts,
    ):
        for text in _texts(task):
            names = {"source": task.source, "repo": text.repo, "path": text.path}
            if reason := _drop_reason(text, task.config, allowed):
                about = {"language": PROSE, "license": text.license, "n_bytes": 0}
                dropped.add(names | about | {"rule": reason[0], "value": reason[1]})
                counts.update({"dropped": 1, f"dropped_by_rule/{reason[0]}": 1})
                continue
            row, edits = _row(names, text, task.config)
            documents.add(row, len(row["content"]))
            for edit in edits:
                redactions.add(names | {"line": edit.line, "kind": edit.kind})
            for post in text.posts:
                about = {"score": post.score, "license": post.license, "author": post.author}
                posts.add({"repo": text.repo, "path": text.path, "post": post.id} | about)
            counts.update(document_counts(row))
    return dict(counts)


def _largest_rule(counts: Counter[str]) -> str:
    rule, n = largest_rule(counts)
    cures = {
        "license-not-permissive": "; allow their licence with --licenses.also",
        "license-unknown": "; name their licence with --license",
    }
    return f"{n:,} were dropped by the rule {rule}{cures.get(rule, '')}" if rule else ""


def _name_sources(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Each source with a name of its own."""
    names: Counter[str] = Counter()
    found = []
    for path in paths:
        name = stackexchange.site_name(path) if stackexchange.is_posts(path) else path.stem
        name = name or path.absolute().name
        names[name] += 1
        found.append((path, name if names[name] == 1 else f"{name}-{names[name]}"))
    return found


def _open_source(path: Path, name: str) -> Repository | Path:
    """A folder with its files, or a file that is there and of a known kind."""
    if path.is_dir():
        repository = folders.open_plain(path, name, name)
        entries = tuple(e for e in repository.entries if e.path.lower().endswith(TEXT_ENDINGS))
        if not entries:
            raise SourceError(f"{path} holds no {', '.join(TEXT_ENDINGS)} files")
        return Repository(
            name, name, repository.reader, entries, repository.fingerprint, repository.notices
        )
    if not path.is_file():
        raise SourceError(f"no file or folder at {path}")
    known = (*dumps.ENDINGS, *TEXT_ENDINGS)
    if path.name.lower().endswith(".7z"):
        raise SourceError(f"{path} is packed; unpack it with: 7z x {path.name}")
    if not stackexchange.is_posts(path) and not path.name.lower().endswith(known):
        raise SourceError(
            f"{path} is not a known kind of text; give Posts.xml or {', '.join(known)}"
        )
    return path


def _identity(name: str, source: Repository | Path) -> str:
    state = source.fingerprint if isinstance(source, Repository) else sha256_of(source)
    return hashlib.sha256(f"{name}\0{state}".encode()).hexdigest()[:16]


def _tasks(
    sources: Sequence[Repository | Path],
    named: Sequence[tuple[Path, str]],
    config: ProseConfig,
    scratch: Path,
) -> Iterator[ProseTask]:
    """The work, cut by bytes; dumps of posts are split into buckets first."""
    scratch.mkdir(exist_ok=True)
    for i, (source, (path, name)) in enumerate(zip(sources, named, strict=True)):
        if isinstance(source, Repository):
            licenses = read_notices(source.notices, config.license)
            for entries in cut(source.entries, attrgetter("n_bytes"), config.shard_bytes):
                yield ProseTask(name, path.absolute(), config, tuple(entries), licenses)
        elif stackexchange.is_posts(path):
            folder = scratch / f"posts-{i}"
            folder.mkdir(exist_ok=True)
            for bucket in stackexchange.split_into_buckets(path, folder):
                yield ProseTask(name, bucket.absolute(), config, is_bucket=True)
        else:
            yield ProseTask(name, path.absolute(), config)


def _texts(task: ProseTask) -> Iterator[Text]:
    """The texts of a task, in pieces."""
    if task.licenses is not None:
        yield from _folder_texts(task)
    elif task.is_bucket:
        yield from _threads(task)
    elif task.path.name.lower().endswith(TEXT_ENDINGS):
        data = task.path.read_bytes()
        licenses = Licenses({}, task.config.license)
        yield from _cut(task, task.path.name, data, licenses)
    else:
        yield from _corpus_texts(task)


def _corpus_texts(task: ProseTask) -> Iterator[Text]:
    config = task.config
    for number, row in enumerate(dumps.read_dump(task.path, task.source, config.columns)):
        is_named = row.repo != task.source
        repo = row.repo if is_named else f"{row.repo}/{number // POSTS_PER_REPO}"
        name = row.license or config.license
        stated = (name, "declared") if name else (UNKNOWN, "none")
        for part, content in _number_pieces(row.content, row.path, config):
            yield Text(repo, part, content, *stated, row.changed_at)


def _folder_texts(task: ProseTask) -> Iterator[Text]:
    assert task.licenses is not None
    limit = task.config.max_file_bytes
    for entry in task.entries:
        if entry.rule or entry.n_bytes > limit:
            reason = (entry.rule, entry.value) if entry.rule else ("too-large", f"{entry.n_bytes}")
            yield Text(task.source, entry.path, "", "", "", reason=reason)
    small = [e for e in task.entries if not e.rule and e.n_bytes <= limit]
    for entry, data in folders.FolderReader(str(task.path)).read(small):
        yield from _cut(task, entry.path, data, task.licenses)


def _cut(task: ProseTask, path: str, data: bytes, licenses: Licenses) -> Iterator[Text]:
    text = decode(data)
    if text is None or "\0" in text:
        reason = ("not-text", "neither UTF-8 nor GB 18030")
        yield Text(task.source, path, "", "", "", reason=reason)
        return
    name, source = licenses.of(path, text)
    for part, content in _number_pieces(text, path, task.config):
        yield Text(task.source, part, content, name, source)


def _number_pieces(text: str, path: str, config: ProseConfig) -> Iterator[tuple[str, str]]:
    """(path, content) of the pieces of a text, numbered if there are several."""
    found = list(pieces(text, config.max_chars)) or [""]
    for i, content in enumerate(found):
        yield (path if len(found) == 1 else f"{path}#{i + 1}"), content


def _threads(task: ProseTask) -> Iterator[Text]:
    config = task.config
    for thread in stackexchange.threads(task.path, config.min_score, config.max_answers):
        licenses = sorted({post.license for post in thread.posts})
        number = thread.question.id
        yield Text(
            repo=f"{task.source}/{number // POSTS_PER_REPO}",
            path=f"{number}.md",
            content=thread.markdown(),
            license=" AND ".join(licenses),
            license_from="declared",
            changed_at=max(post.changed_at for post in thread.posts) or None,
            posts=thread.posts,
        )


def _drop_reason(
    text: Text, config: ProseConfig, allowed: frozenset[str]
) -> tuple[str, str] | None:
    """(rule, value) that drops a text, or None."""
    if text.reason is not None:
        return text.reason
    if not text.content:
        return "empty", "0 characters"
    if len(text.content) < config.min_chars:
        return "short", f"{len(text.content)} characters"
    if found := language_reason(config.kind, text.content):
        return f"not-{config.kind}", found
    return license_reason(text.license, allowed, allow_unknown=config.licenses.allow_unknown)


def _row(
    names: dict[str, str], text: Text, config: ProseConfig
) -> tuple[dict[str, Any], list[Edit]]:
    content, edits = redact(text.content, config.redact)
    place = f"{names['source']}/{text.repo}"
    unit = text.path.partition("#")[0]
    is_heldout = is_heldout_unit(place, unit, fraction=config.heldout_fraction, seed=config.seed)
    data = text.content.encode("utf-8", "surrogatepass")
    row: dict[str, Any] = {
        **names,
        "language": PROSE,
        "license": text.license,
        "license_from": text.license_from,
        "split": "heldout" if is_heldout else "train",
        "n_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "content": content,
        "n_redactions": len(edits),
        "changed_at": text.changed_at,
    }
    return row, edits
