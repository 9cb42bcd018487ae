"""A repository that is being worked on: its memory and its context follow the files on disk.

Input: a folder. Output: prompts in the layout of training, and a Memory of the code that lies
there: files that git does not ignore and whose licence is known to be permissive or the owner's,
secrets and addresses redacted. Every two seconds files that changed are read again; a file that was
forgotten stays forgotten as long as this lives.

Not here: the search (index.py), the layout (corpus/context.py), a memory as an artefact
(engine/remember.py).
"""

import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from codling.core.languages.table import detect
from codling.core.log import say
from codling.corpus.context import Cursor, CursorContext, Measure, RepositoryContext, WorkingTree
from codling.corpus.filters import marks
from codling.corpus.licenses.notices import (
    LicenseConfig,
    allowed_licenses,
    license_reason,
    read_notices,
)
from codling.corpus.redaction.redact import RedactConfig, redact
from codling.corpus.sources.open import open_sources
from codling.corpus.sources.repository import Archive
from codling.engine.memory.mixture import Weights
from codling.engine.memory.repository import FileName, Memory
from codling.tokens.tokenizer import Tokenizer

POLL_SECONDS = 2.0
_LISTED_EVERY = 5
"""Polls between two looks for new files."""
_REDACTED = RedactConfig()


class LiveRepository:
    """The memory and the context of a folder. Close it."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, weights: Weights | None = None) -> None:
        """Raises SourceError if `folder` is not a folder or holds no files."""
        self._tree = WorkingTree(folder)
        self._context = RepositoryContext(folder)
        self._prompting, self._changing = threading.Lock(), threading.Lock()
        self._licenses = read_notices(_notices(folder), own=True)
        self._allowed = allowed_licenses(LicenseConfig())
        self._stamps = {path: self._tree.stamp(path) for path in self._tree}
        self._forgotten: set[str] = set()
        self.memory = Memory.build(tokenizer, self._rows(), weights)
        self._closed = threading.Event()
        self._follower: threading.Thread | None = None

    def prompt(self, cursor: Cursor, *, budget: int, measure: Measure = len) -> str:
        """As RepositoryContext; from any thread."""
        with self._prompting:
            return self._context.prompt(cursor, budget=budget, measure=measure)

    def lay_out(self, cursor: Cursor, *, budget: int, measure: Measure = len) -> CursorContext:
        """As RepositoryContext; from any thread."""
        with self._prompting:
            return self._context.lay_out(cursor, budget=budget, measure=measure)

    def inside(self, path: str) -> str:
        """`path` relative to the folder; SourceError if it lies outside."""
        return self._context.inside(path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self._tree.folder.name

    def files(self) -> dict[str, int]:
        """The files that are known and can be shown, listed anew, with their sizes in bytes."""
        self.refresh()
        sizes = {}
        for path in self._tree:
            with suppress(KeyError, OSError, UnicodeEncodeError):
                path.encode()  # git names may hold bytes that are no text
                found = self._tree.place(path).stat()
                if stat.S_ISREG(found.st_mode):  # git lists what became a folder, too
                    sizes[path] = found.st_size
        return sizes

    def place(self, path: str) -> Path:
        """Where a listed file lies, without links; KeyError for all others."""
        return self._tree.place(path)

    def forget(self, path: str, repo: str | None = None) -> bool:
        """Nothing comes from this file any more, whatever becomes of it; whether it was known."""
        name = self._name_file(path)
        if repo not in (None, name.repo):
            return False
        with self._changing:
            was_known = name in self.memory.names
            self._forgotten.add(path)
            self.memory.forget(name)
        return was_known

    def refresh(self, *, relist: bool = True) -> int:
        """Read what has changed; gives how many files that were."""
        with self._changing:
            if relist:
                self._tree.refresh()
            now = {path: self._tree.stamp(path) for path in self._tree}
            before, self._stamps = self._stamps, now
            changed = [p for p, stamp in now.items() if stamp and before.get(p) != stamp]
            gone = [p for p, stamp in before.items() if stamp and not now.get(p)]
            kept = [path for path in changed if path not in self._forgotten]
            rows = {self._name_file(path): self._row(path) for path in kept}
            self.memory.update_all(rows | dict.fromkeys(map(self._name_file, gone)))
            return len(rows) + len(gone)

    def follow(self, seconds: float = POLL_SECONDS) -> None:
        """Refresh now and then, in the background."""
        self._follower = threading.Thread(
            target=self._follow, args=(seconds,), name="repository", daemon=True
        )
        self._follower.start()

    def close(self) -> None:
        """Stop following."""
        self._closed.set()
        if self._follower is not None:
            self._follower.join()

    def _follow(self, seconds: float) -> None:
        n_polls = 0
        while not self._closed.wait(seconds):
            n_polls += 1
            try:
                self.refresh(relist=n_polls % _LISTED_EVERY == 0)
            except OSError as error:
                # A folder that is moved away for a moment; what was read last stays.
                say(f"{self._tree.folder} cannot be read: {error.strerror}")

    def _rows(self) -> Iterator[dict[str, Any]]:
        for path in self._tree:
            if row := self._row(path):
                yield row

    def _name_file(self, path: str) -> FileName:
        return FileName(self._tree.folder.name, path)

    def _row(self, path: str) -> dict[str, Any] | None:
        """The file as the memory takes it; None for one that is not remembered."""
        text = self._tree[path]
        license, _ = self._licenses.of(path, text)
        if not text or license_reason(license, self._allowed, allow_unknown=False):
            return None
        text, _ = redact(text, _REDACTED, marks.ALL)
        return {
            "path": path,
            "repo": self._tree.folder.name,
            "license": license,
            "language": detect(path, b"") or "",
            "content": text,
        }


def _notices(folder: Path) -> dict[str, bytes]:
    """The licence files of the repository at `folder`."""
    first = next(iter(open_sources([folder])))
    return {} if isinstance(first, Archive) else dict(first.notices)
