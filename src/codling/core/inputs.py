"""What comes from outside as an input of an artefact: files, published models, tools.

Input: a path. Output: an Input of kind "source" with the identity of what lies there, or the
artefact itself where it is one of ours.

Not here: what an artefact is (artifact.py).
"""

from collections.abc import Callable
from pathlib import Path

from codling.core.artifact import MANIFEST, Artifact, Input, open_artifact, sha256_of
from codling.core.files import escape_bytes


def source_input(path: Path | str, identity: str = "") -> Input:
    """Something outside, named by its identity; a file without one by its content.

    A path is noted whole, so that it can be found from anywhere; a text as it is.
    """
    if isinstance(path, Path):
        identity, path = identity or sha256_of(path)[:16], str(path.absolute())
    return Input(kind="source", id=identity, path=escape_bytes(path))


def input_at(path: Path, kind: str | None, identity: Callable[[], str]) -> Artifact | Input:
    """The artefact in a folder, or a source outside with what `identity` returns."""
    if (path / MANIFEST).is_file():
        return open_artifact(path, kind)
    return source_input(path, identity())


def tokenizer_input(folder: Path) -> Artifact | Input:
    """The tokenizer as an input: an artefact, or a published one named by its file's hash."""
    return input_at(folder, None, lambda: sha256_of(tokenizer_file(folder))[:16])


def tokenizer_file(folder: Path) -> Path:
    """The tokenizer.json in a folder; a file is itself."""
    return folder / "tokenizer.json" if folder.is_dir() else folder
