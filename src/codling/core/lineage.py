"""Lineage: from an artefact back to the files and licences that it was made from.

Input: the path of any artefact, a checkpoint for example. Output: the tree of its inputs as text,
down to the sources, with the licences and repositories of the documents on the way.

Not here: what a single token came from (the index of the artefact of kind "tokens" says that).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codling.core.artifact import Artifact, Input, open_artifact
from codling.core.errors import ArtifactError
from codling.core.shards import read_rows


@dataclass(frozen=True, kw_only=True)
class TraceConfig:
    """Settings of `codling trace`."""

    path: Path
    """Folder of the artefact to walk back from."""
    files: bool = False
    """Also list every source file with its licence and hash."""


@dataclass(frozen=True)
class Ancestor:
    """One step of the walk: an input, how deep it lies, and the artefact if it is still there."""

    entry: Input
    depth: int
    artifact: Artifact | None


def trace(config: TraceConfig) -> str:
    """From an artefact back to the files and licences it was made from.

    Example:
        codling trace runs/stdlib/checkpoint --files
    """
    lines: list[str] = []
    for ancestor in walk(open_artifact(config.path)):
        indent = "  " * ancestor.depth
        lines.append(f"{indent}{_headline(ancestor)}")
        if ancestor.artifact is not None and ancestor.artifact.kind == "documents":
            lines += [f"{indent}  {line}" for line in _documents(ancestor.artifact, config.files)]
    return "\n".join(lines)


def walk(artifact: Artifact) -> Iterator[Ancestor]:
    """The artefact and all that it was made from, depth first, each artefact once."""
    root = Input(kind=artifact.kind, id=artifact.id, path=str(artifact.path))
    waiting = [Ancestor(root, 0, artifact)]
    seen: set[str] = set()
    while waiting:
        ancestor = waiting.pop()
        if ancestor.entry.id in seen:
            continue
        seen.add(ancestor.entry.id)
        yield ancestor
        if ancestor.artifact is not None:
            waiting += [
                Ancestor(entry, ancestor.depth + 1, _find(ancestor.artifact, entry))
                for entry in reversed(ancestor.artifact.manifest.inputs)
            ]


def _find(artifact: Artifact, entry: Input) -> Artifact | None:
    if entry.kind == "source":
        return None
    try:
        found = open_artifact((artifact.path / entry.path).resolve(), entry.kind)
    except ArtifactError:
        return None
    return found if found.id == entry.id else None


def _headline(ancestor: Ancestor) -> str:
    entry = ancestor.entry
    if entry.kind == "source":
        return f"source {entry.path} [{entry.id}]"
    if ancestor.artifact is None:
        return f"{entry.kind} [{entry.id}] is no longer at {entry.path}"
    code = ancestor.artifact.manifest.code
    commit = str(code.get("commit") or "")[:12]
    made_by = f"codling {code.get('version')}" + (f" at {commit}" if commit else "")
    changed = ", uncommitted changes" if code.get("dirty") else ""
    return f"{entry.kind} [{entry.id}] {ancestor.artifact.path} ({made_by}{changed})"


def _documents(artifact: Artifact, list_files: bool) -> Iterator[str]:
    licenses: Counter[tuple[str, str]] = Counter()
    columns = ["source", "repo", "path", "license", "license_from", "sha256"]
    files: list[str] = []
    for row in read_rows(artifact, "documents", columns):
        licenses[row["repo"], row["license"]] += 1
        if list_files:
            where = f"{row['source']}:{row['repo']}/{row['path']}"
            files.append(f"{row['sha256'][:12]} {row['license']} ({row['license_from']}) {where}")
    for (repo, license_name), n in sorted(licenses.items()):
        yield f"{repo}: {n:,} files under {license_name}"
    yield from files
