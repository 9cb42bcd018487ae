"""Lineage: from an artefact back to the files and licences that it was made from.

Input: the path of any artefact, a checkpoint for example. Output: the tree of its inputs as text,
down to the sources, with the licences and repositories of the documents that were learned from, and
what each station before them removed, by which rule.

Not here: what a single token came from (the index of the artefact of kind "tokens" says that).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codling.core.artifact import MANIFEST, Artifact, Input, open_artifact
from codling.core.errors import ArtifactError
from codling.core.shards import read_rows

OUTSIDE = ("source", "tool")
"""Kinds of inputs that are not artefacts: what was read, and the programs that judged it."""


@dataclass(frozen=True, kw_only=True)
class TraceConfig:
    """Settings of `codling trace`."""

    path: Path
    """Folder of the artefact to walk back from."""
    files: bool = False
    """Also list every source file with its licence and hash, and every removed one with the rule
    and the value that decided."""


@dataclass(frozen=True)
class Ancestor:
    """One step of the walk: an input, how deep it lies, and the artefact if it is still there."""

    entry: Input
    depth: int
    artifact: Artifact | None
    taken_by: str = ""
    """Kind of the artefact that names it as an input."""


def trace(config: TraceConfig) -> str:
    """From an artefact back to the files and licences it was made from.

    Example:
        codling trace runs/stdlib/checkpoint --files
    """
    lines: list[str] = []
    for ancestor in walk(_open_named(config.path)):
        indent = "  " * ancestor.depth
        lines.append(f"{indent}{_headline(ancestor)}")
        if ancestor.artifact is not None:
            lines += [f"{indent}  {line}" for line in _details(ancestor, config.files)]
    return "\n".join(lines)


def _open_named(path: Path) -> Artifact:
    """The artefact at `path`; a run's folder is refused with the names of what it holds."""
    inside = sorted(p.parent.name for p in path.glob(f"*/{MANIFEST}"))
    if inside and not (path / MANIFEST).exists():
        raise ArtifactError(f"{path} holds several artefacts; name one of {', '.join(inside)}")
    return open_artifact(path)


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
                Ancestor(
                    entry, ancestor.depth + 1, _find(ancestor.artifact, entry), ancestor.entry.kind
                )
                for entry in reversed(ancestor.artifact.manifest.inputs)
            ]


def count_licenses(artifact: Artifact) -> Counter[str]:
    """How many of the files that an artefact was made from are under each licence."""
    found: Counter[str] = Counter()
    for ancestor in walk(artifact):
        # Only the last documents were learned from.
        documents = ancestor.artifact
        if documents and documents.kind == "documents" and ancestor.taken_by != "documents":
            found.update(row["license"] for row in read_rows(documents, "documents", ["license"]))
    return found


def _find(artifact: Artifact, entry: Input) -> Artifact | None:
    if entry.kind in OUTSIDE:
        return None
    try:
        found = open_artifact((artifact.path / entry.path).resolve(), entry.kind)
    except ArtifactError:
        return None
    return found if found.id == entry.id else None


def _headline(ancestor: Ancestor) -> str:
    entry = ancestor.entry
    if entry.kind in OUTSIDE:
        return f"{entry.kind} {entry.path} [{entry.id}]"
    if ancestor.artifact is None:
        return f"{entry.kind} [{entry.id}] is no longer at {entry.path}"
    code = ancestor.artifact.manifest.code
    commit = str(code.get("commit") or "")[:12]
    made_by = f"codling {code.get('version')}" + (f" at {commit}" if commit else "")
    changed = ", uncommitted changes" if code.get("dirty") else ""
    return f"{entry.kind} [{entry.id}] {ancestor.artifact.path} ({made_by}{changed})"


def _details(ancestor: Ancestor, list_files: bool) -> Iterator[str]:
    """What an artefact holds and what its stage removed, where it is a table of files."""
    artifact = ancestor.artifact
    assert artifact is not None
    for note in artifact.manifest.config.get("left_out", ()):
        yield f"did not pass {note}"
    # Only the last documents were learned from; of those before, what was removed matters.
    if artifact.kind == "documents" and ancestor.taken_by != "documents":
        yield from _list_documents(artifact, list_files)
    if artifact.kind in ("documents", "raw"):
        yield from _list_removed(artifact, list_files)


def _list_documents(artifact: Artifact, list_files: bool) -> Iterator[str]:
    licenses: Counter[tuple[str, str]] = Counter()
    columns = ["source", "repo", "path", "license", "license_from", "sha256"]
    files: list[str] = []
    for row in read_rows(artifact, "documents", columns):
        licenses[row["repo"], row["license"]] += 1
        if list_files:
            license_name = f"{row['license']} ({row['license_from']})"
            files.append(f"{row['sha256'][:12]} {license_name} {_place(row)}")
    for (repo, license_name), n in sorted(licenses.items()):
        yield f"{repo}: {n:,} files under {license_name}"
    yield from files


def _list_removed(artifact: Artifact, list_files: bool) -> Iterator[str]:
    columns = ["source", "repo", "path", "rule", "value"]
    rules: Counter[str] = Counter()
    files: list[str] = []
    for row in read_rows(artifact, "dropped", columns):
        rules[row["rule"]] += 1
        if list_files:
            files.append(f"removed {_place(row)}: {row['rule']}, {row['value']}")
    if rules:
        by_rule = ", ".join(f"{rule} {n:,}" for rule, n in rules.most_common())
        yield f"removed {rules.total():,} files: {by_rule}"
    yield from files


def _place(row: dict[str, Any]) -> str:
    return f"{row['source']}:{row['repo']}/{row['path']}"
