"""Whether a checkpoint's files are still what its manifest says.

Input: a checkpoint folder. Output: nothing, or CheckpointError that names the file. Sizes are
compared at every start. Hashes are compared once per file: what was found is kept in the user's
cache under the file's path, size and times, so that a second start does not read the files again;
`info --verify` compares them again.

At a start only what nobody edits by hand is compared: weights and tokenizer.json. Checkpoints from
elsewhere have no manifest, so there is nothing to compare.

Not here: whether weights are finite and fit the config (load.py looks at every one).
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from codling.core.artifact import MANIFEST, Artifact, Input, open_artifact, sha256_of
from codling.core.errors import CheckpointError, name_faults
from codling.core.files import cache_dir, escape_bytes, stays_below, write_json
from codling.core.foreign_json import read_object
from codling.core.inputs import input_at

_CURE = "download it again, or make it again"
_NOT_EDITED = (".safetensors", "tokenizer.json")
_MAX_KEPT = 10_000


def check_files(path: Path, cache_path: Path | None = None) -> int:
    """Compare the weights and tokenizer of a checkpoint with its manifest, hashes once per file.

    Returns how many files the manifest lists: 0 without one. Raises CheckpointError.
    """
    cache = _Cache(cache_path or _cache_path())
    return _check(path, lambda name: name.endswith(_NOT_EDITED), cache.sha256)


def model_id(path: Path, cache_path: Path | None = None) -> str:
    """Which weights a checkpoint's folder or .gguf file holds: equal ids mean equal weights.

    An artefact's id, else a hash over the weight files, wherever they lie.
    """
    if (path / MANIFEST).is_file():
        return open_artifact(path).id
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    cache = _Cache(cache_path or _cache_path())
    return hashlib.sha256("".join(cache.sha256(f) for f in files).encode()).hexdigest()[:16]


def model_input(path: Path) -> Artifact | Input:
    """A model as an input: a checkpoint's artefact, or a source named by its weights."""
    return input_at(path, "checkpoint", lambda: model_id(path))


def verify_files(path: Path) -> int:
    """Compare every file of a checkpoint with its manifest, all bytes of each; as `check_files`."""
    return _check(path, lambda _: True, sha256_of)


def _check(path: Path, wanted: Callable[[str], bool], sha256: Callable[[Path], str]) -> int:
    manifest = path / MANIFEST
    if not (path.is_dir() and (manifest.exists() or manifest.is_symlink())):
        return 0
    with name_faults(path, CheckpointError):
        entries = [e for e in _entries(manifest) if wanted(e[0])]
        for name, n_bytes, _ in entries:
            _check_size(path / name, n_bytes)
        for name, _, digest in entries:
            if sha256(path / name) != digest:
                raise CheckpointError(
                    f"{path / name} has other bytes than {manifest} says: it was changed or is "
                    f"damaged; {_CURE}"
                )
    return len(entries)


def _entries(manifest: Path) -> list[tuple[str, int, str]]:
    """(name, bytes, hash) of every file; CheckpointError where one cannot be a file below."""
    listed = read_object(manifest, CheckpointError, cure=_CURE).get("files")
    found = []
    for entry in listed if isinstance(listed, list) else [None]:
        values: dict[str, Any] = entry if isinstance(entry, dict) else {}
        name, n_bytes, digest = (values.get(key) for key in ("name", "bytes", "sha256"))
        if not (isinstance(name, str) and type(n_bytes) is int and isinstance(digest, str)):
            raise CheckpointError(f"{manifest}: its list of files is malformed; {_CURE}")
        if not stays_below(name):
            raise CheckpointError(f"{manifest} names a file outside its folder: {name[:60]!r}")
        found.append((name, n_bytes, digest))
    return found


def _check_size(path: Path, n_bytes: int) -> None:
    size = path.stat().st_size if path.is_file() else None
    if size != n_bytes:
        what = "is missing" if size is None else f"has {size:,} bytes instead of {n_bytes:,}"
        raise CheckpointError(f"{path} {what}; {_CURE}")


def _cache_path() -> Path:
    return cache_dir() / "hashes.json"


class _Cache:
    """Hashes that were computed before, by path, size, inode and times of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, Any] = {}
        # A damaged cache counts as an empty one.
        with suppress(CheckpointError):
            if path.is_file():
                self._kept = read_object(path, CheckpointError)

    def sha256(self, path: Path) -> str:
        """The hash of a file, computed only if it changed since the last time."""
        name, stat = escape_bytes(str(path.resolve())), path.stat()
        state = f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        kept = self._kept.get(name)
        if isinstance(kept, dict) and kept.get("state") == state:
            return str(kept.get("sha256"))
        digest = sha256_of(path)
        self._keep(name, {"state": state, "sha256": digest})
        return digest

    def _keep(self, name: str, values: dict[str, str]) -> None:
        there = {n: v for n, v in self._kept.items() if n != name and Path(n).exists()}
        self._kept = dict([*there.items(), (name, values)][-_MAX_KEPT:])
        # Where no cache can be written (a read-only home), the next start computes again.
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self._kept)
