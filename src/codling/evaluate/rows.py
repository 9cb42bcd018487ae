"""Append-only JSON Lines with a key per row: what was generated, extracted and run, each once.

A key is a content hash of all that a row depends on, so that stopping costs nothing and a changed
setting never finds an old row; in a stage's draft, which has one setting, a name will do. A last
line cut by a crash is dropped. Not here: what rows hold (harness.py, heldout/score_commits.py).
"""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from codling.core.files import append_json, drop_half_line, read_json_lines


class Rows:
    """The rows of one file by key; `add` may be called from several threads."""

    def __init__(self, path: Path) -> None:
        """Reads what is there; the file is made with the first row."""
        self.path = path
        self._rows: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        if path.exists():
            self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, key: str, **values: object) -> dict[str, Any]:
        """Append a row; a later row with the same key replaces the earlier one."""
        row = {"key": key, **values}
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            append_json(self.path, row)
            self._rows[key] = row
        return row

    def _read(self) -> None:
        drop_half_line(self.path)
        self._rows |= {row["key"]: row for row in read_json_lines(self.path)}


def content_key(*parts: object) -> str:
    """A hash of JSON-ready values: 24 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
