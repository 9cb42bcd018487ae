"""What long work shows and writes down: a progress bar with rate and time left, and metrics.jsonl.

Not here: reports (report/run_page.py) and the printing of errors (cli.py).
"""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column

from codling.core.files import (
    append_json,
    read_json_lines,
    sync_file,
    sync_folder,
    write_json_lines,
)

console = Console(stderr=True)
_PLAIN_SECONDS = 15.0
"""Without a terminal, one line of progress every so often."""


class Bar:
    """A progress bar on stderr: live on a terminal, elsewhere a plain line from time to time.

    Use it in a `with` block; of `total` steps `done` are already complete. Of several processes
    under torchrun the first shows it.
    """

    def __init__(self, label: str, total: float, *, done: float = 0, unit: str = "") -> None:
        self.label, self.total, self.done, self.unit = label, total, done, unit
        self._live: RichProgress | None = None
        self._task: TaskID | None = None
        self._started = self._shown = time.monotonic()
        self._first = done
        self._note = ""

    def __enter__(self) -> Self:
        self._started = self._shown = time.monotonic()
        if console.is_terminal and _may_speak():
            self._live = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                # A narrow terminal shows the beginning of the note, on one line.
                TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)),
                console=console,
            )
            self._task = self._live.add_task(
                self.label, total=self.total, completed=int(self.done), rate="", note=""
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def advance(self, n: float, note: str = "") -> None:
        """`n` more steps are done; `note` is shown at the end of the line."""
        self.done += n
        self._note = note or self._note
        rate = f"{self.rate:,.1f} {self.unit}/s" if self.unit else ""
        if self._live and self._task is not None:
            self._live.update(
                self._task, total=self.total, completed=self.done, rate=rate, note=self._note
            )
        elif time.monotonic() - self._shown > _PLAIN_SECONDS and _may_speak():
            self._shown = time.monotonic()
            left = f", {self.seconds_left:.0f} s left" if self.rate else ""
            console.print(
                f"{self.label}: {self.done:,.0f}/{self.total:,.0f} {rate}{left} {self._note}",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )

    @property
    def rate(self) -> float:
        """Steps per second since the block was entered."""
        return (self.done - self._first) / max(1e-9, time.monotonic() - self._started)

    @property
    def seconds_left(self) -> float:
        """Seconds until the end at the present rate."""
        return (self.total - self.done) / max(1e-9, self.rate)


class MetricsLog:
    """Appends one JSON object per line to metrics.jsonl."""

    def __init__(self, path: Path, *, keep_below_step: int | None = None) -> None:
        """`keep_below_step`: on resume, drop the rows of steps that will be run again."""
        self.path = path
        if keep_below_step is not None and path.exists():
            kept = [r for r in read_json_lines(path) if r.get("step", 0) < keep_below_step]
            write_json_lines(path, kept)

    def write(self, **values: object) -> None:
        """Append one row."""
        append_json(self.path, values)

    def sync(self) -> None:
        """Bring all rows to the disk: before a state is saved that relies on them."""
        if self.path.exists():
            sync_file(self.path)
            sync_folder(self.path.parent)


def say(message: str) -> None:
    """One line to the user, on stderr; of several processes under torchrun the first speaks."""
    if not _may_speak():
        return
    # No markup: "[grammars]" is text, not a style.
    console.print(message, highlight=False, soft_wrap=True, markup=False)
    sys.stderr.flush()


def _may_speak() -> bool:
    """Whether this process is alone, or the first of several."""
    return os.environ.get("RANK", "0") == "0"
