"""What the page of `codling watch` says of a run, read from its metrics.jsonl as it grows.

Input: a folder of a run, or of one training. Output: a plain object of numbers for each training
in it, small enough to be asked for every two seconds.

Not here: the page (watch.py, watch.html).
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codling.core.artifact import MANIFEST, read_own
from codling.core.errors import ArtifactError

METRICS = "metrics.jsonl"
MAX_POINTS = 400
"""Points of a line at most."""
_QUIET_SECONDS = 60.0
"""A run that has written nothing for so long, or for five of its steps, has stopped."""
_MAX_NUMBER = 1e300
_SERIES = (
    "loss", "bits_per_byte", "heldout_loss", "heldout_bits_per_byte", "tokens_per_second", "mfu",
    "grad_norm", "learning_rate", "waiting_share", "expert_load",
)  # fmt: skip
_LANGUAGES = "language_bits"
"""The key of rows that has a number, and so a line, for each language."""

Row = dict[str, Any]


@dataclass
class _Tail:
    """A file of rows that grows, read on from where it was read to."""

    path: Path
    at: int = 0
    inode: int = 0
    rows: list[Row] = field(default_factory=list)

    def read(self) -> list[Row]:
        """All rows that are whole; from the beginning again if the file was made anew."""
        status = self.path.stat()
        if status.st_ino != self.inode or status.st_size < self.at:
            self.at, self.inode, self.rows = 0, status.st_ino, []
        with self.path.open("rb") as file:
            file.seek(self.at)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self.at += len(whole) + 1
            self.rows.extend(_parse(whole))
        return self.rows


class WatchedRuns:
    """Runs whose files are read on from where they were read to."""

    def __init__(self, runs: Sequence[Path], *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives the seconds since 1970."""
        self.runs, self.clock = tuple(runs), clock
        self._tails: dict[Path, _Tail] = {}

    def view(self) -> list[dict[str, Any]]:
        """What to show of each training of each run."""
        found = []
        for path in (path for run in self.runs for path in find_metrics(run)):
            try:
                rows = self._tails.setdefault(path, _Tail(path)).read()
                if rows:
                    found.append(_view(path, rows, self.clock()))
            except OSError:  # renamed meanwhile, as the training is finished; or not ours to read
                continue
        return found


def find_metrics(run: Path) -> list[Path]:
    """The metrics of a run's trainings: of the folder itself, or of those in it."""
    own = [run, partial_of(run)]
    found = [folder / METRICS for folder in own if (folder / METRICS).is_file()]
    if not found and run.is_dir():
        found = sorted(run.glob(f"*/{METRICS}"))
    # Of an artefact that is made again both are there; what grows counts.
    grows = {path.parent.name.removesuffix(".partial") for path in found if _is_partial(path)}
    return [path for path in found if _is_partial(path) or path.parent.name not in grows]


def partial_of(run: Path) -> Path:
    """Where an artefact of this name is made, also of `.`, which has no name of its own."""
    named = run if run.name not in ("", "..") else run.resolve()
    return named.with_name(named.name + ".partial") if named.name else named / ".partial"


def _view(path: Path, rows: list[Row], now: float) -> dict[str, Any]:
    folder, last = path.parent, rows[-1]
    counts = _counts(folder)
    heldout = next((row["heldout_loss"] for row in reversed(rows) if "heldout_loss" in row), None)
    languages: Row = next((row[_LANGUAGES] for row in reversed(rows) if _LANGUAGES in row), {})
    return {
        "name": f"{folder.absolute().parent.name}/{folder.name.removesuffix('.partial')}",
        "state": _state(path, rows, now),
        "n_steps": counts.get("n_steps", last.get("n_steps")),
        "last": {key: value for key, value in last.items() if not isinstance(value, dict)},
        "heldout": heldout,
        "languages": languages,
        "note": counts.get("headline", ""),
        "series": {**_series(rows), _LANGUAGES: _by_language(rows)},
        "events": [f"step {row['step']:,}: {row['event']}" for row in rows if "event" in row][-50:],
    }


def _state(path: Path, rows: list[Row], now: float) -> str:
    if not _is_partial(path):
        return "finished"
    earlier = rows[max(0, len(rows) - 11)]
    pace = (rows[-1].get("seconds", 0) - earlier.get("seconds", 0)) / max(1, min(10, len(rows) - 1))
    is_quiet = now - path.stat().st_mtime > max(_QUIET_SECONDS, 5 * pace)
    return "stopped; the same command goes on" if is_quiet else "running"


def _series(rows: list[Row]) -> dict[str, dict[str, list[list[float]]]]:
    lines = {}
    for key in _SERIES:
        points = [_point(row, row[key]) for row in rows if row.get(key) is not None]
        if points:
            lines[key] = {"": thin(points)}
    return lines


def _by_language(rows: list[Row]) -> dict[str, list[list[float]]]:
    lines: dict[str, list[list[float]]] = {}
    for row in rows:
        for name, value in (row.get(_LANGUAGES) or {}).items():
            lines.setdefault(name, []).append(_point(row, value))
    return {name: thin(points) for name, points in lines.items()}


def _point(row: Row, value: float) -> list[float]:
    return [row["step"], row.get("seconds", 0), value]


def thin(points: list[list[float]]) -> list[list[float]]:
    """At most MAX_POINTS of the points, evenly spread, the last among them."""
    every = -(-len(points) // MAX_POINTS)
    return points[(len(points) - 1) % every :: every] if every > 1 else points


def _counts(folder: Path) -> Row:
    if not (folder / MANIFEST).is_file():
        return {}
    try:
        counts = read_own(folder / MANIFEST)["counts"]
    except (ArtifactError, KeyError):
        return {}
    return {k: v for k, v in counts.items() if _is_number(v) or isinstance(v, str)}


def _parse(data: bytes) -> Iterator[Row]:
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue  # cut short by a power failure; the run that goes on writes it again
        if isinstance(row, dict) and _is_number(row.get("step")):
            yield _keep_known(row)


def _keep_known(row: Row) -> Row:
    """What is a number, an event, or the numbers of languages: others may write such files too."""
    kept = {key: value for key, value in row.items() if _is_number(value)}
    if isinstance(row.get("event"), str):
        kept["event"] = row["event"]
    if isinstance(languages := row.get(_LANGUAGES), dict):
        kept[_LANGUAGES] = {name: bits for name, bits in languages.items() if _is_number(bits)}
    return kept


def _is_number(value: object) -> bool:
    """A number that JSON and the page can show."""
    return type(value) in (int, float) and -_MAX_NUMBER < value < _MAX_NUMBER  # type: ignore[operator]


def _is_partial(path: Path) -> bool:
    return path.parent.name.endswith(".partial")
