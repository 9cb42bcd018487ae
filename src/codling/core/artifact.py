"""Artefacts: folders that are either complete, with a manifest, or unfinished, in NAME.partial.

Input: a stage's config, its input artefacts and its work. Output: a folder with `manifest.json`.

    produce(...)         run a stage's work once: skip if complete, resume if interrupted
    open_artifact(path)  read a finished artefact
    verify(artifact)     compare every file with its hash

The id is a hash of (kind, stage version, config, input ids). Work happens in `NAME.partial/`, whose
`plan.json` holds the id; the manifest is written last and the folder renamed. So a manifest means
complete, the same id means skip, `kill -9` at any point means resume, and a changed config can
never continue old work. What an artefact of the same name held before stays in `NAME.previous/`
until the next time.

Not here: what the files contain (each stage), and the walk from an artefact to its sources
(lineage.py).
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from codling import __version__
from codling.core.errors import ArtifactError, SourceError, ToolMissingError
from codling.core.files import write_json
from codling.core.foreign_json import read_object
from codling.core.git import open_git
from codling.core.git_place import find_place

MANIFEST = "manifest.json"
PLAN = "plan.json"
_SCRATCH = (".lock", PLAN)


@dataclass(frozen=True, kw_only=True)
class Input:
    """What an artefact was made from: another artefact, or a source outside (kind "source")."""

    kind: str
    id: str
    path: str
    """Relative to the artefact that names it, so that a run can be moved; absolute for sources."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of an artefact."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contents of `manifest.json`."""

    kind: str
    id: str
    inputs: tuple[Input, ...]
    config: dict[str, Any]
    code: dict[str, Any]
    files: tuple[FileEntry, ...]
    counts: dict[str, Any]
    seconds: float
    machine: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """A finished artefact on disk."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """Hash of config, inputs and stage version: equal ids mean equal contents."""
        return self.manifest.id

    @property
    def kind(self) -> str:
        """What the folder holds, for example "documents" or "checkpoint"."""
        return self.manifest.kind

    @property
    def counts(self) -> dict[str, Any]:
        """What the stage counted."""
        return self.manifest.counts

    def files(self, pattern: str) -> list[Path]:
        """The artefact's files that match a glob, in name order."""
        return sorted(self.path.glob(pattern))


@dataclass
class Draft:
    """An artefact while it is made: write only below `path`; `counts` goes into the manifest."""

    path: Path
    kind: str
    id: str
    counts: dict[str, Any] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """The path of a file of the draft, with its parent folders made."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def produce(  # noqa: PLR0913  the five parts of an identity, and the work
    out_dir: Path,
    *,
    kind: str,
    version: int,
    config: object,
    inputs: Sequence[Artifact | Input],
    work: Callable[[Draft], None],
) -> Artifact:
    """The artefact at `out_dir`, made by `work` unless it is there already.

    `work` fills the draft; when it is called again for the same id after an interruption, it finds
    the files that it left. Raises ArtifactError if `out_dir` holds something that is not ours, or
    if another process is making the same artefact.
    """
    out_dir = out_dir.absolute()
    entries = tuple(_as_input(i, out_dir) for i in inputs)
    identity = content_id(kind, version, config, entries)
    if (existing := _complete(out_dir)) and existing.id == identity:
        return existing
    draft = _begin(out_dir, kind, identity)
    with _locked(draft.path):
        started = time.monotonic() - _seconds_spent(draft)
        with damage_named(inputs):
            work(draft)
        return _publish(draft, out_dir, entries, config_dict(config), time.monotonic() - started)


def is_complete(
    out_dir: Path, *, kind: str, version: int, config: object, inputs: Sequence[Artifact | Input]
) -> bool:
    """Whether `produce` with the same arguments would return at once."""
    out_dir = out_dir.absolute()
    entries = tuple(_as_input(i, out_dir) for i in inputs)
    existing = _complete(out_dir)
    return existing is not None and existing.id == content_id(kind, version, config, entries)


def open_artifact(path: Path, kind: str | None = None) -> Artifact:
    """The finished artefact at `path`; ArtifactError if it is damaged or not of this kind."""
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        partial = path.with_name(path.name + ".partial")
        state = "is unfinished; run its stage again" if partial.exists() else f"has no {MANIFEST}"
        raise ArtifactError(f"{path} {state}")
    artifact = Artifact(path.absolute(), _read_manifest(manifest_path))
    if kind is not None and artifact.kind != kind:
        raise ArtifactError(f"{path} holds {artifact.kind}, but {kind} is needed here")
    for entry in artifact.manifest.files:
        file_path = path / entry.name
        size = file_path.stat().st_size if file_path.is_file() else None
        if size != entry.bytes:
            found = "is missing" if size is None else f"has {size} bytes instead of {entry.bytes}"
            raise ArtifactError(f"{file_path} {found}; delete {path} and run its stage again")
    return artifact


def verify(artifact: Artifact) -> None:
    """Compare every file with its hash; ArtifactError names the first that differs."""
    for entry in artifact.manifest.files:
        if sha256_of(artifact.path / entry.name) != entry.sha256:
            raise ArtifactError(
                f"{artifact.path / entry.name} differs from its manifest; "
                f"delete {artifact.path} and run its stage again"
            )


@contextmanager
def damage_named(inputs: Sequence[Artifact | Input]) -> Iterator[None]:
    """Where a table cannot be read, ArtifactError names the damaged file of the inputs."""
    try:
        yield
    except (OSError, ValueError) as error:
        # What pyarrow raises: its own classes, or an OSError without a number.
        arrow = type(error).__module__.startswith("pyarrow")
        if arrow or (isinstance(error, OSError) and error.errno is None):
            for each in inputs:
                if isinstance(each, Artifact):
                    verify(each)
        raise


def content_id(kind: str, version: int, config: object, inputs: Sequence[Input]) -> str:
    """Hash of what an artefact is made from: 16 hexadecimal digits."""
    what = [kind, version, config_dict(config, identity=True), [[i.kind, i.id] for i in inputs]]
    return hashlib.sha256(_canonical(what).encode()).hexdigest()[:16]


def config_dict(config: object, *, identity: bool = False) -> dict[str, Any]:
    """A config as JSON-ready values; with `identity`, without the fields made by `recipe.aside`."""
    values = _plain(config, identity)
    assert isinstance(values, dict)
    return values


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_own(path: Path) -> dict[str, Any]:
    """The object in a JSON file of an artefact; ArtifactError if it is absent or damaged."""
    return read_object(path, ArtifactError, cure="delete its folder and run its stage again")


def _complete(out_dir: Path) -> Artifact | None:
    if (out_dir / MANIFEST).exists():
        return open_artifact(out_dir)
    if out_dir.is_file() or (out_dir.is_dir() and any(out_dir.iterdir())):
        raise ArtifactError(
            f"{out_dir} exists and is not an artefact; choose another output folder"
        )
    return None


def _begin(out_dir: Path, kind: str, identity: str) -> Draft:
    partial = out_dir.with_name(out_dir.name + ".partial")
    plan_path = partial / PLAN
    plan: dict[str, Any] = {}
    if plan_path.is_file():
        with suppress(ArtifactError):
            plan = read_object(plan_path, ArtifactError)
    if partial.exists() and plan.get("id") != identity:
        with _locked(partial):
            shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    if not plan_path.exists():
        write_json(plan_path, {"kind": kind, "id": identity})
    return Draft(partial, kind, identity)


def _seconds_spent(draft: Draft) -> float:
    """Seconds between the plan and the newest file of an interrupted attempt."""
    planned = (draft.path / PLAN).stat().st_mtime
    newest = max((p.stat().st_mtime for p in draft.path.rglob("*")), default=planned)
    return max(0.0, newest - planned)


def _publish(
    draft: Draft, out_dir: Path, inputs: tuple[Input, ...], config: dict[str, Any], seconds: float
) -> Artifact:
    names = sorted(
        p.relative_to(draft.path).as_posix()
        for p in draft.path.rglob("*")
        if p.is_file()
        and p.name not in _SCRATCH
        and p.relative_to(draft.path).parts[0] != ".shards"
    )
    manifest = Manifest(
        kind=draft.kind,
        id=draft.id,
        inputs=inputs,
        config=config,
        code=_code_version(),
        files=tuple(
            FileEntry(
                name=n, bytes=(draft.path / n).stat().st_size, sha256=sha256_of(draft.path / n)
            )
            for n in names
        ),
        counts=draft.counts,
        seconds=round(seconds, 3),
        machine=_machine(),
    )
    shutil.rmtree(draft.path / ".shards", ignore_errors=True)
    write_json(draft.path / MANIFEST, asdict(manifest))
    for name in _SCRATCH:
        (draft.path / name).unlink(missing_ok=True)
    if out_dir.exists():
        previous = out_dir.with_name(out_dir.name + ".previous")
        if (out_dir / MANIFEST).exists():
            shutil.rmtree(previous, ignore_errors=True)
            out_dir.rename(previous)
        else:
            out_dir.rmdir()
    draft.path.rename(out_dir)
    return Artifact(out_dir, manifest)


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    with (partial / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(
                f"another process is working in {partial}; wait for it to end"
            ) from None
        yield


def _read_manifest(path: Path) -> Manifest:
    try:
        raw = read_object(path, ArtifactError)
        return Manifest(
            **{
                **{f.name: raw[f.name] for f in fields(Manifest)},
                "inputs": tuple(Input(**i) for i in raw["inputs"]),
                "files": tuple(FileEntry(**f) for f in raw["files"]),
            }
        )
    except (ArtifactError, KeyError, TypeError):
        raise ArtifactError(
            f"{path} is damaged; delete the folder {path.parent} and run its stage again"
        ) from None


def _as_input(given: Artifact | Input, out_dir: Path) -> Input:
    if isinstance(given, Input):
        return given
    return Input(kind=given.kind, id=given.id, path=os.path.relpath(given.path, out_dir))


def _plain(value: object, identity: bool) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        kept = (f for f in fields(value) if not (identity and f.metadata.get("aside")))
        return {f.name: _plain(getattr(value, f.name), identity) for f in kept}
    if isinstance(value, Mapping):
        return {str(k): _plain(v, identity) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(_plain(v, identity)) for v in value)
    if isinstance(value, (list, tuple)):
        return [_plain(v, identity) for v in value]
    if isinstance(value, Path):
        return value.as_posix()
    return value.value if isinstance(value, Enum) else value


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _code_version() -> dict[str, Any]:
    package = Path(__file__).parents[1]
    commit, is_dirty = None, None
    # No git, or a tree that it cannot read: the version alone tells what ran.
    with suppress(SourceError, ToolMissingError):
        commit, is_dirty = _own_commit(package)
    return {"version": __version__, "commit": commit, "dirty": is_dirty}


def _own_commit(package: Path) -> tuple[str | None, bool | None]:
    """The commit of codling's own source, and whether the files differ from it."""
    place = find_place(package)
    commit = place.head() if place else None
    if place is None or commit is None:
        return None, None
    with open_git(place) as git:
        tracked = git.tracked()
        # An installed package may lie inside somebody else's repository: only our own tree counts.
        if "core/artifact.py" not in tracked:
            return None, None
        return commit, bool(git.changes(commit, tracked) or git.untracked())


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "n_cpus": os.cpu_count(),
    }
