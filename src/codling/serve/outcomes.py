"""What became of completions: a log of what was shown, taken, or typed instead. Off by default.

Input: finished runs of completions and insertions, and what clients report about them. Output:
lines of JSON in a file that only its owner can read.

    {"event": "shown", "id": "cmpl-...", "prompt_sha256": "...", "suffix_sha256": "...", ...}
    {"event": "outcome", "id": "cmpl-...", "outcome": "taken", "n_chars": 24, ...}

Hashes and lengths alone, unless the owner asks for the text (`--log-text`), which `codling data
accepted` needs. Chat is not logged.

Not here: what is made of it (corpus/accepted.py).
"""

import hashlib
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Any

from codling.core.errors import ConfigError
from codling.core.log import say

MAX_KNOWN = 4096
"""Completions of which an outcome is still taken; older ones are forgotten."""


@dataclass(frozen=True)
class About:
    """What a completion was asked for."""

    prefix: str
    suffix: str = ""
    path: str = ""


class CompletionLog:
    """The open file. Close it."""

    def __init__(
        self, path: Path, *, with_text: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        """Appends to `path`; ConfigError where that is not an ordinary file of ours."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags | os.O_NONBLOCK, 0o600)
            os.fchmod(descriptor, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the log of completions cannot be written to {path}: {error.strerror}; name a "
                "file of your own"
            ) from None
        self._path, self._file, self._fails = path, descriptor, False
        self._with_text, self._clock = with_text, clock
        self._known: OrderedDict[str, int] = OrderedDict()

    def note_shown(self, id: str, model: str, about: About, texts: Sequence[str]) -> None:
        """Note the choices that were shown; a run without any text is not noted."""
        if not any(texts):
            return
        self._known[id] = len(texts)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        row: dict[str, Any] = {
            "model": model,
            "prompt_sha256": _hash(about.prefix),
            "suffix_sha256": _hash(about.suffix),
            "n_chars": [len(text) for text in texts],
        }
        if self._with_text:
            row |= {"path": about.path, "prompt": about.prefix, "suffix": about.suffix}
            row["texts"] = list(texts)
        self._write("shown", id, row)

    def note_outcome(self, id: str, outcome: str, index: int, text: str | None) -> bool:
        """Note what became of a choice; False for a completion that is not known here."""
        if index >= self._known.get(id, 0):
            return False
        row: dict[str, Any] = {"outcome": outcome, "index": index}
        if text is not None:
            row["n_chars"] = len(text)
            if self._with_text:
                row["text"] = text
        self._write("outcome", id, row)
        return True

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, event: str, id: str, row: dict[str, Any]) -> None:
        """Add a line, whole or not at all. That it cannot be added is said once; completions go on,
        for a log is no reason to refuse them."""
        head = {"event": event, "id": id, "time": round(self._clock(), 3)}
        line = (json.dumps(head | row, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        try:
            end = os.fstat(self._file).st_size
            if os.write(self._file, line) < len(line):
                os.ftruncate(self._file, end)
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            self._fails = False
        except OSError as error:
            if not self._fails:
                say(f"completions are not noted in {self._path} for now: {error.strerror}")
            self._fails = True


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
