"""Artefacts: folders that are either complete, with a manifest, or unfinished, in NAME.partial.

Input: a stage's config, its input artefacts and its work. Output: a folder with `manifest.json`.

    produce(...)         run a stage's work once: skip if complete, resume if interrupted
    open_artifact(path)  read a finished artefact
    verify(artifact)     compare every file with its hash

The id is a hash of (kind, stage version, config, input ids). Work happens in `NAME.partial/`, whose
`plan.json` says what it is made from (plan.py). When it is done, in this order: its files are
synced, the manifest is written, the folder is renamed, and the records of the work (`.shards`) go.
So a manifest means complete, the same id means skip, and `kill -9` or a power cut at any point
means resume. A changed config neither continues old work nor deletes it: that needs `fresh_start`.
What an artefact of the same name held before stays in `NAME.previous/` until the next time.

Not here: what the files contain (each stage), how a single file is written (files.py), and the walk
from an artefact to its sources (lineage.py).
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from codling.core.errors import ROOM_FOR_LARGE, ArtifactError, StorageError
from codling.core.files import (
    escape_bytes,
    is_disk_full,
    is_file_too_large,
    make_folder,
    sync_folder,
    sync_tree,
    write_json,
)
from codling.core.foreign_json import read_object
from codling.core.log import say
from codling.core.plan import PLAN, Plan, read_plan, starts_fresh
from codling.core.provenance import code_version, machine

MANIFEST = "manifest.json"
SHARDS = ".shards"
"""In an unfinished folder: the records of the work, and what is not published."""
_LOCK = ".lock"
_SCRATCH = (SHARDS, PLAN, _LOCK)


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
    finished: str = ""
    """When, in UTC (ISO 8601); empty in manifests of earlier versions."""


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

    def inner(self, name: str) -> "Draft":
        """A draft inside the draft, in the part that is not published, for an earlier pass."""
        path = self.path / SHARDS / name
        make_folder(path)
        return Draft(path, self.kind, self.id)


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
    what the work is to read, if unfinished work of other settings is in the way, or if another
    process is making the same artefact; StorageError if the disk is full, with the work kept.
    """
    out_dir = out_dir.absolute()
    _spare_inputs(out_dir, inputs)
    plan = _plan(kind, version, config, [_as_input(i, out_dir) for i in inputs])
    if (existing := _complete(out_dir)) and existing.id == plan.id:
        _tidy(out_dir)
        return existing
    partial = _partial(out_dir)
    make_folder(partial)
    with _hold_lock(partial), _name_full_disk(partial):
        if finished := _find_finished(partial, plan.id):
            return _move_into_place(finished, out_dir)
        plan = _begin(partial, plan)
        draft = Draft(partial, kind, plan.id)
        started = time.monotonic() - _earlier_seconds(partial)
        with name_damage(inputs):
            work(draft)
        if plan.earlier:
            draft.counts["earlier_lengths"] = list(plan.earlier)
        entries = tuple(_as_input(i, out_dir) for i in inputs)
        complete = _complete_draft(draft, entries, config_dict(config), time.monotonic() - started)
        return _move_into_place(complete, out_dir)


def is_complete(
    out_dir: Path, *, kind: str, version: int, config: object, inputs: Sequence[Artifact | Input]
) -> bool:
    """Whether `produce` with the same arguments would return at once."""
    out_dir = out_dir.absolute()
    entries = [_as_input(i, out_dir) for i in inputs]
    existing = _complete(out_dir)
    return existing is not None and existing.id == content_id(kind, version, config, entries)


def open_artifact(path: Path, kind: str | None = None) -> Artifact:
    """The finished artefact at `path`; ArtifactError if it is damaged or not of this kind."""
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        partial = _partial(path)
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
def name_damage(inputs: Sequence[Artifact | Input]) -> Iterator[None]:
    """Within the block, a table that cannot be read gives ArtifactError with the damaged input."""
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
    return _plan(kind, version, config, inputs).id


def config_dict(config: object, *, identity: bool = False) -> dict[str, Any]:
    """A config as JSON-ready values; with `identity`, without the fields made by `recipe.aside`."""
    values = _to_json_value(config, identity)
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


def _spare_inputs(out_dir: Path, inputs: Sequence[Artifact | Input]) -> None:
    """ArtifactError if an input would be replaced by what is made from it."""
    for each in inputs:
        if isinstance(each, Artifact) and each.path.resolve() == out_dir.resolve():
            raise ArtifactError(
                f"{out_dir} is to be read as well ({each.kind}); choose another output folder"
            )


def _partial(out_dir: Path) -> Path:
    named = out_dir if out_dir.name else out_dir.absolute()  # "." has no name of its own
    return named.with_name(named.name + ".partial")


def _plan(kind: str, version: int, config: object, inputs: Sequence[Input]) -> Plan:
    named = fields(config) if is_dataclass(config) else ()
    return Plan(
        kind=kind,
        version=version,
        settings=config_dict(config, identity=True),
        inputs=tuple((i.kind, i.id) for i in inputs),
        lengths=tuple(f.name for f in named if f.metadata.get("length")),
    )


def _find_finished(partial: Path, identity: str) -> Artifact | None:
    """The artefact in an unfinished folder, where only the renaming is missing."""
    if not (partial / MANIFEST).exists():
        return None
    try:
        artifact = open_artifact(partial)
        if artifact.id == identity:
            verify(artifact)
    except ArtifactError:
        return None
    return artifact if artifact.id == identity else None


def _begin(partial: Path, plan: Plan) -> Plan:
    """Go on with the work in a folder, or begin; returns the plan with its earlier lengths."""
    begun = read_plan(partial)
    going_on = plan.continue_from(begun) if begun and not starts_fresh() else None
    if going_on is not None and begun is not None:
        if going_on.id != begun.id:
            say(f"{partial} goes on with {plan.differences(begun)}")
            written = (partial / PLAN).stat()
            going_on.write(partial)
            os.utime(partial / PLAN, ns=(written.st_atime_ns, written.st_mtime_ns))
        return going_on
    _drop_work(partial, plan, begun)
    plan.write(partial)
    return plan


def _drop_work(partial: Path, plan: Plan, begun: Plan | None) -> None:
    """Empty an unfinished folder, if there is nothing to lose or the user wants it."""
    if _holds_work(partial):
        if not (partial / PLAN).exists() and not (partial / MANIFEST).exists():
            raise ArtifactError(f"{partial} holds files that are not codling's; move them away")
        if not starts_fresh():
            other = f" ({plan.differences(begun)})" if begun else ""
            raise ArtifactError(
                f"{partial} holds unfinished work with other settings{other}; to go on with it "
                "give the settings that it was begun with, to drop it add --fresh"
            )
    # The records go first and the plan last, so that what a kill leaves is never taken for work.
    for path in sorted(partial.iterdir(), key=lambda p: (p.name == PLAN, p.name)):
        if path.name != _LOCK:
            _remove(path)


def _holds_work(partial: Path) -> bool:
    return any(
        p.is_file() and p.name != PLAN and p.suffix != ".tmp" and not p.name.endswith(_LOCK)
        for p in partial.rglob("*")
    )


def _earlier_seconds(partial: Path) -> float:
    """Seconds between the plan and the newest file of an interrupted attempt."""
    planned = (partial / PLAN).stat().st_mtime
    newest = max((p.stat().st_mtime for p in partial.rglob("*")), default=planned)
    return max(0.0, newest - planned)


def _complete_draft(
    draft: Draft, inputs: tuple[Input, ...], config: dict[str, Any], seconds: float
) -> Artifact:
    """Sync all files and write the manifest: from here on the folder is complete."""
    for half in draft.path.rglob("*.tmp"):
        half.unlink()
    paths = sorted(
        (p for p in draft.path.rglob("*") if p.is_file() and _is_published(draft, p)),
        key=lambda p: p.relative_to(draft.path).as_posix(),
    )
    sync_tree(draft.path, skip=_SCRATCH)
    manifest = Manifest(
        kind=draft.kind,
        id=draft.id,
        inputs=inputs,
        config=config,
        code=code_version(),
        files=tuple(file_entry(p, draft.path) for p in paths),
        counts=draft.counts,
        seconds=round(seconds, 3),
        machine=machine(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_json(draft.path / MANIFEST, asdict(manifest))
    return Artifact(draft.path, manifest)


def _is_published(draft: Draft, path: Path) -> bool:
    return path.relative_to(draft.path).parts[0] not in (*_SCRATCH, MANIFEST)


def file_entry(path: Path, folder: Path) -> FileEntry:
    """Name, size and hash of a file below a folder."""
    name = path.relative_to(folder).as_posix()
    return FileEntry(name=name, bytes=path.stat().st_size, sha256=sha256_of(path))


def _move_into_place(complete: Artifact, out_dir: Path) -> Artifact:
    if out_dir.exists():
        if (out_dir / MANIFEST).exists():
            _keep_previous(out_dir)
        else:
            out_dir.rmdir()
    complete.path.rename(out_dir)
    sync_folder(out_dir.parent)
    _tidy(out_dir)
    return Artifact(out_dir, complete.manifest)


def _keep_previous(out_dir: Path) -> None:
    previous = out_dir.with_name(out_dir.name + ".previous")
    if previous.exists():
        if not (previous / MANIFEST).exists() and any(previous.iterdir()):
            raise ArtifactError(f"{previous} is in the way and not an artefact; move it away")
        say(f"{previous}, made with settings before the last, is dropped")
        # The manifest goes last, so that what a kill leaves can be dropped the next time.
        for path in sorted(previous.iterdir(), key=lambda p: p.name == MANIFEST):
            _remove(path)
        previous.rmdir()
    out_dir.rename(previous)


def _tidy(out_dir: Path) -> None:
    """Remove what only served the work, also what a kill left of it."""
    for name in _SCRATCH:
        if (out_dir / name).exists():
            _remove(out_dir / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _hold_lock(partial: Path) -> Iterator[None]:
    path = partial / _LOCK
    with path.open("w") as lock:
        is_ours = False
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its holder may have finished in the meantime and removed the file.
            is_ours = path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino
        if not is_ours:
            raise ArtifactError(f"another process is working in {partial}; wait for it to end")
        try:
            yield
        except Exception:
            if not _holds_work(partial):  # left behind, it would look like unfinished work
                _remove(partial)
            raise


@contextmanager
def _name_full_disk(partial: Path) -> Iterator[None]:
    """A full disk is one line, from whichever library it comes; the work stays."""
    try:
        yield
    except Exception as error:
        where = getattr(error, "filename", None) or partial
        if is_file_too_large(error):
            raise StorageError(
                f"a file may not grow so large: {where}; {ROOM_FOR_LARGE}"
            ) from error
        if not is_disk_full(error):
            raise
        raise StorageError(
            f"the disk is full: {where}; free some space and run the command again: it resumes"
        ) from error


def _read_manifest(path: Path) -> Manifest:
    try:
        raw = read_object(path, ArtifactError)
        return Manifest(
            **{
                **{f.name: raw[f.name] for f in fields(Manifest) if f.name in raw},
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


def _to_json_value(value: object, identity: bool) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        kept = (f for f in fields(value) if not (identity and f.metadata.get("aside")))
        return {f.name: _to_json_value(getattr(value, f.name), identity) for f in kept}
    if isinstance(value, Mapping):
        return {str(k): _to_json_value(v, identity) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(_to_json_value(v, identity)) for v in value)
    if isinstance(value, (list, tuple)):
        return [_to_json_value(v, identity) for v in value]
    if isinstance(value, Path):
        return escape_bytes(value.as_posix())
    return value.value if isinstance(value, Enum) else value
