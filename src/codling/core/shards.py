"""Shards: a stage's work cut into independent tasks, each done once, in any order, on any worker.

Input: a draft, a list of picklable tasks and a function. Output: files `NAME-00017.parquet` in the
draft, identical for any number of workers. A shard is done when its record `.shards/00017.json` is
there: its counts, and size and hash of its files, written after they are on the disk. After an
interruption the records are compared with the files, and only what is not done runs again, from its
beginning.

Not here: how a stage cuts its work (it must not depend on the number of workers).
"""

import fcntl
import json
import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import chain, islice
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import SHARDS, Artifact, Draft, FileEntry, file_entry
from codling.core.cluster import map_on_ray
from codling.core.errors import ArtifactError, CodlingError, StorageError
from codling.core.files import make_folder, replace_file, sync_file, sync_folder, write_json
from codling.core.log import Bar
from codling.core.private_dirs import remove_private_dirs
from codling.core.ranges import Ranged, Workers
from codling.core.recipe import aside
from codling.core.threads import available_cores

Task = TypeVar("Task")
Item = TypeVar("Item")
Counts = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Parallel(Ranged):
    """Where the shards of a stage are worked on: settings of every stage that has some."""

    workers: Workers = aside(factory=available_cores)
    """Processes or threads that work at the same time; the result does not depend on it."""
    ray: str | None = aside(None)
    """Address of a Ray cluster, or auto; by default this machine."""


@dataclass(frozen=True)
class Shard:
    """Where one task writes."""

    folder: Path
    index: int

    def path(self, name: str, suffix: str = ".parquet") -> Path:
        """The shard's file of this name, for example `documents-00017.parquet`."""
        return self.folder / f"{name}-{self.index:05d}{suffix}"

    def write_rows(self, name: str, rows: Sequence[dict[str, Any]], schema: pa.Schema) -> None:
        """Write `rows` as this shard's Parquet table `name`; no rows make an empty table."""
        write_table(self.path(name), pa.Table.from_pylist(list(rows), schema=schema))


def map_shards(  # noqa: PLR0913  what is done, and where
    draft: Draft,
    tasks: Iterable[Task],
    work: Callable[[Task, Shard], Counts],
    on: Parallel,
    *,
    label: str,
    threads: bool = False,
) -> Counter[str]:
    """Run `work` on every task that is not done yet; returns the summed counts of all shards.

    `work` must be importable by name (workers are processes) and must write only through its Shard.
    With `threads`, for work that releases the GIL, workers are threads of this process. With the
    address of a cluster, the tasks run there (core/cluster.py), with the same result.
    """
    waiting = _PendingTasks(draft, tasks)
    with Bar(label, waiting.n_tasks, done=waiting.n_done, unit="shards") as bar:
        if on.ray is not None and waiting:
            done = _run_on_ray(iter(waiting), work, on.ray)
        else:
            n_workers = min(on.workers, waiting.at_least)
            done = _run(iter(waiting), work, n_workers, threads=threads)
        for _ in done:
            bar.total = waiting.n_tasks
            bar.advance(1)
    total: Counter[str] = Counter()
    for index in range(waiting.n_tasks):
        record = json.loads(_record(waiting.done_dir, index).read_text(encoding="utf-8"))
        total.update(record["counts"])
    return total


class _PendingTasks:
    """The tasks that are not done yet, each with its shard; once they are asked for, all counted.

    A sequence says at once how many there are. Of other tasks two are made beforehand, so that no
    worker is started for a single one, and the rest while workers are at the first.
    """

    def __init__(self, draft: Draft, tasks: Iterable[Task]) -> None:
        self._folder = draft.path
        self.done_dir = draft.path / SHARDS
        make_folder(self.done_dir)
        self._checked: dict[int, bool] = {}
        self._rest = iter(tasks)
        is_known = isinstance(tasks, Sized)
        self._first = list(self._rest if is_known else islice(self._rest, 2))
        self.n_tasks = len(self._first)
        self.n_done = sum(self._is_done(i) for i in range(self.n_tasks))
        is_all = is_known or self.n_tasks < 2
        self.at_least = self.n_tasks - self.n_done if is_all else sys.maxsize
        """How many are left; without end, where that is not known yet."""

    def __bool__(self) -> bool:
        return self.at_least > 0

    def __iter__(self) -> Iterator[tuple[Shard, Any]]:
        for index, task in enumerate(chain(self._first, self._rest)):
            self.n_tasks = max(self.n_tasks, index + 1)
            if not self._is_done(index):
                yield Shard(self._folder, index), task

    def _is_done(self, index: int) -> bool:
        if index not in self._checked:
            self._checked[index] = _is_done(Shard(self._folder, index))
        return self._checked[index]


def cut(items: Iterable[Item], size: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """The items in order, in runs that end as soon as their sizes reach `limit`.

    >>> list(cut("abcde", lambda _: 2, 4))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    run: list[Item] = []
    reached = 0
    for item in items:
        run.append(item)
        reached += size(item)
        if reached >= limit:
            yield run
            run, reached = [], 0
    if run:
        yield run


def prepare_workers(modules: Sequence[str]) -> None:
    """Start the server that worker processes are forked from, with some modules imported.

    It starts beside the work of this process, and only once: a later call changes nothing. Without
    it the server starts with the first pool, and every worker imports what it needs.
    """
    multiprocessing.set_forkserver_preload(["__main__", *modules])
    forkserver.ensure_running()


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file (zstd), complete or not at all."""
    with replace_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_rows(
    artifact: Artifact, name: str, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of all shards of table `name`, in shard order, a thousand in memory at a time.

    Raises ArtifactError for a table that cannot be read.
    """
    for path in artifact.files(f"{name}-*.parquet"):
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=1024, columns=columns and list(columns)):
                    yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:80]
            raise ArtifactError(
                f"{path} is damaged ({reason}); delete {artifact.path} and run its stage again"
            ) from None


def _run(
    jobs: Iterator[tuple[Shard, Task]],
    work: Callable[[Task, Shard], Counts],
    workers: int,
    *,
    threads: bool,
) -> Iterator[None]:
    if workers <= 1:
        for shard, task in jobs:
            _run_shard(work, task, shard)
            yield
        return
    with _pool(workers, threads=threads) as pool:
        try:
            futures = [pool.submit(_run_shard, work, task, shard) for shard, task in jobs]
            for future in as_completed(futures):
                future.result()
                yield
        except BrokenProcessPool:
            raise CodlingError(
                "a worker process was killed, probably for lack of memory; use fewer --workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run_on_ray(
    jobs: Iterator[tuple[Shard, Task]], work: Callable[[Task, Shard], Counts], address: str
) -> Iterator[None]:
    calls = ((work, task, shard) for shard, task in jobs)
    for shard in map_on_ray(_run_shard, calls, address):
        assert isinstance(shard, Shard)
        if not _record(shard.folder / SHARDS, shard.index).exists():
            raise StorageError(
                f"{shard.folder} is not shared with all Ray nodes; choose an out_dir that is"
            )
        yield


def _pool(workers: int, *, threads: bool) -> Executor:
    if threads:
        return ThreadPoolExecutor(workers)
    # Not forked from this process: numba, polars and torch keep threads that do not survive it.
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Exit this worker when its parent is gone, also by kill -9, instead of waiting forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        remove_private_dirs()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_shard(work: Callable[[Task, Shard], Counts], task: Task, shard: Shard) -> Shard:
    """Do a shard from its beginning, unless it is done.

    A worker of a killed run, or of a lost node, may still be at it for a moment: it must not write
    into the same files, and what it leaves half done must go.
    """
    done_dir = shard.folder / SHARDS
    with (done_dir / f"{shard.index:05d}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_done(shard):
            for stale in _files(shard):
                stale.unlink()
            _write_record(shard, work(task, shard))
    return shard


def _write_record(shard: Shard, counts: Counts) -> None:
    """Bring the shard's files to the disk, then say that it is done."""
    paths = _files(shard)
    for path in paths:
        sync_file(path)
    sync_folder(shard.folder)
    files = [asdict(file_entry(path, shard.folder)) for path in paths]
    write_json(
        _record(shard.folder / SHARDS, shard.index), {"counts": dict(counts), "files": files}
    )


def _is_done(shard: Shard) -> bool:
    """Whether the shard has a record, and files of the size and the hash that it names."""
    try:
        record = json.loads(_record(shard.folder / SHARDS, shard.index).read_text("utf-8"))
        files = [FileEntry(**entry) for entry in record["files"]]
        return files == [file_entry(path, shard.folder) for path in _files(shard)]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _files(shard: Shard) -> list[Path]:
    return sorted(shard.folder.glob(f"*-{shard.index:05d}.*"))


def _record(done_dir: Path, index: int) -> Path:
    return done_dir / f"{index:05d}.json"
