"""The memory of a repository: its files as a suffix index, kept up to date, and the origin of a
match.

Input: documents with repository, path, licence and text. Output: what followed a context anywhere
in them, and for a place the file, line and licence. A file is named by repository and path: two
repositories may both have a src/main.py. Files that change go into a small second index, which is
built again at each change; the large one only drops their old text.

Not here: making it a stage (engine/remember.py) and using it while text is generated (recall.py).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from codling.core.artifact import open_artifact
from codling.core.errors import ArtifactError, RequestError
from codling.core.files import write_json
from codling.core.foreign_json import read_object
from codling.core.languages.table import detect
from codling.corpus.layout import file_text
from codling.engine.memory.index import NOTHING, SEPARATOR, Continuations, SuffixIndex
from codling.engine.memory.kernels import Ids
from codling.engine.memory.mixture import Weights
from codling.engine.request import Origin
from codling.tokens.tokenizer import Tokenizer

KIND = "memory"
_ARRAYS = ("tokens", "order", "file_starts")
OWN_LICENSE = "LicenseRef-own"


class FileName(NamedTuple):
    """What names a file that is remembered."""

    repo: str
    path: str


@dataclass(frozen=True)
class MemoryFile:
    """One file that is remembered."""

    path: str
    repo: str
    license: str

    @property
    def name(self) -> FileName:
        """Its name."""
        return FileName(self.repo, self.path)


@dataclass(frozen=True)
class _EditedIndex:
    """The files that were edited, replaced as a whole."""

    index: SuffixIndex
    files: tuple[MemoryFile, ...]


class Memory:
    """What a repository's files hold, ready for look-ups."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        files: list[MemoryFile],
        index: SuffixIndex,
        weights: Weights,
    ) -> None:
        self.tokenizer, self.weights = tokenizer, weights
        self.index, self._files = index, files
        self._numbers: defaultdict[FileName, list[int]] = defaultdict(list)
        for number, file in enumerate(files):
            # Two files of one name: parts of two sources that are called alike.
            self._numbers[file.name].append(number)
        self._edited: dict[FileName, tuple[MemoryFile, list[int]]] = {}
        self._fresh = _EditedIndex(SuffixIndex.build([], tokenizer.vocab_size), ())

    @classmethod
    def build(
        cls,
        tokenizer: Tokenizer,
        documents: Iterable[Mapping[str, Any]],
        weights: Weights | None = None,
    ) -> "Memory":
        """From rows with path, repo, license, language and content."""
        files: list[MemoryFile] = []
        texts: list[Ids] = []
        for row in documents:
            text = file_text(row["language"], row["path"], row["content"])
            files.append(MemoryFile(row["path"], row["repo"], row["license"]))
            texts.append(np.array(tokenizer.encode(text), np.uint32))
        index = SuffixIndex.build(texts, tokenizer.vocab_size)
        return cls(tokenizer, files, index, weights or Weights.default())

    @classmethod
    def open(cls, folder: Path, tokenizer: Tokenizer) -> "Memory":
        """From an artefact; ArtifactError if it was made with another tokenizer."""
        artifact = open_artifact(folder, KIND)
        if artifact.counts["tokenizer"] != fingerprint(tokenizer):
            raise ArtifactError(
                f"{folder} was made with another tokenizer; make it again with this model: "
                f"codling memory PATH --model MODEL --out-dir {folder}"
            )
        damaged = ArtifactError(f"{folder} is damaged; delete it and make it again")
        stored = read_object(folder / "memory.json", ArtifactError, cure="make it again")
        try:
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in _ARRAYS
            }
            files = [MemoryFile(**f) for f in stored["files"]]
            weights = Weights.from_lists(stored["weights"])
        except (ValueError, TypeError, KeyError):
            raise damaged from None
        if not _is_sound(len(files), **arrays):
            raise damaged
        return cls(tokenizer, files, SuffixIndex(**arrays), weights)

    def save(self, folder: Path) -> None:
        """The index as it was built, and the weights; edits since then are not kept."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self.index, name))
        stored = {"files": [asdict(f) for f in self._files], "weights": self.weights.to_lists()}
        write_json(folder / "memory.json", stored)

    @property
    def n_files(self) -> int:
        """Files in the index."""
        return len(self._files)

    @property
    def n_tokens(self) -> int:
        """Tokens in the index, separators included."""
        return len(self.index.tokens)

    @property
    def n_bytes(self) -> int:
        """Memory that the index takes."""
        arrays = (self.index.tokens, self.index.order, self.index.file_starts)
        return sum(a.nbytes for a in arrays)

    @property
    def names(self) -> list[FileName]:
        """The files that are remembered now, in order."""
        kept = [f.name for i, f in enumerate(self._files) if self.index.alive[i]]
        return sorted({*kept, *self._edited})

    def find(self, path: str, repo: str | None = None) -> FileName | None:
        """The remembered file at `path`; None if there is none.

        Raises RequestError if several repositories have one and `repo` does not say which.
        """
        found = [n for n in self.names if n.path == path and repo in (None, n.repo)]
        if len(found) > 1:
            repos = ", ".join(name.repo for name in found)
            raise RequestError(
                f"several repositories have {path}: {repos}; say which in repo", param="repo"
            )
        return found[0] if found else None

    def forget(self, name: FileName) -> None:
        """Drop a file: from now on nothing comes from it."""
        self.update_all({name: None})

    def update(self, name: FileName, text: str, license: str = OWN_LICENSE) -> None:
        """Replace the text of a file; `license` is that of a new one."""
        numbers = self._numbers.get(name)
        if numbers:
            license = self._files[numbers[0]].license
        language = detect(name.path, b"") or ""
        row = {"license": license, "language": language, "content": text}
        self.update_all({name: row})

    def update_all(self, rows: Mapping[FileName, Mapping[str, Any] | None]) -> None:
        """Replace files by rows with license, language and content; None drops a file."""
        edited = dict(self._edited)
        for name, row in rows.items():
            self.index.alive[self._numbers.get(name, [])] = False
            edited.pop(name, None)
            if row is not None:
                text = file_text(row["language"], name.path, row["content"])
                file = MemoryFile(name.path, name.repo, row["license"])
                edited[name] = (file, self.tokenizer.encode(text))
        if edited != self._edited:
            index = SuffixIndex.build([i for _, i in edited.values()], self.tokenizer.vocab_size)
            self._edited = edited
            self._fresh = _EditedIndex(index, tuple(file for file, _ in edited.values()))

    def snapshot(self) -> "Memory":
        """A copy for one request: the places that it is given keep their meaning while others
        change the memory."""
        return copy(self)

    def recall(self, context: Ids) -> Continuations:
        """What followed the longest match of the end of `context`.

        Places of edited files are numbered after those of the index.
        """
        old = self.index.recall(context)
        new = self._fresh.index.recall(context) if self._fresh.files else NOTHING
        if new.length == 0 or old.length > new.length:
            return old
        places = new.places + len(self.index.tokens)
        moved = Continuations(new.length, new.ids, new.counts, places)
        return moved if new.length > old.length else _merge_matches(old, moved)

    def read(self, place: int, n: int) -> list[int]:
        """At most `n` tokens from a place that `recall` gave, up to the end of its file."""
        index, position = self._at(place)
        return index.read(position, n)

    def locate(self, place: int) -> Origin:
        """The file and line of a place that `recall` gave."""
        index, position = self._at(place)
        files: Sequence[MemoryFile] = self._files if index is self.index else self._fresh.files
        number = index.file_of(position)
        file, start = files[number], int(index.file_starts[number]) + 1
        before = self.tokenizer.join_bytes(int(t) for t in index.tokens[start:position])
        # The path comment is not a line of the file.
        return Origin(file.path, file.repo, file.license, max(1, before.count(b"\n")))

    def _at(self, place: int) -> tuple[SuffixIndex, int]:
        """The index that holds a place, and where in it."""
        n = len(self.index.tokens)
        return (self.index, place) if place < n else (self._fresh.index, place - n)


def fingerprint(tokenizer: Tokenizer) -> str:
    """Identifies a tokenizer by the texts of its tokens."""
    digest = hashlib.sha256()
    for i in range(tokenizer.vocab_size):
        piece = tokenizer.token_bytes(i)
        digest.update(len(piece).to_bytes(4, "little") + piece)
    return digest.hexdigest()[:16]


def _is_sound(n_files: int, tokens: Ids, order: Ids, file_starts: Ids) -> bool:
    """Whether the arrays belong together: compiled code does not check where it reads."""
    if not (tokens.ndim == order.ndim == file_starts.ndim == 1) or tokens.dtype not in SEPARATOR:
        return False
    if len(file_starts) != n_files or order.dtype not in (np.int32, np.int64):
        return False
    inside = not len(order) or (order.min() > 0 and order.max() < len(tokens))
    separators = np.flatnonzero(tokens == SEPARATOR[np.dtype(tokens.dtype)])
    return bool(inside and np.array_equal(separators, file_starts))


def _merge_matches(a: Continuations, b: Continuations) -> Continuations:
    """Two matches of one length as one."""
    ids, first, back = np.unique(
        np.concatenate([a.ids, b.ids]), return_index=True, return_inverse=True
    )
    counts = np.bincount(back, np.concatenate([a.counts, b.counts])).astype(np.int64)
    return Continuations(a.length, ids, counts, np.concatenate([a.places, b.places])[first])
