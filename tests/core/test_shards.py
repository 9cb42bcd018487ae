"""Shards after an interruption, while a worker of the killed run is still at one."""

import fcntl
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from codling.core.artifact import Draft, file_entry, produce
from codling.core.errors import ArtifactError
from codling.core.files import write_json
from codling.core.shards import Parallel, Shard, map_shards, read_rows


def write(task: str, shard: Shard) -> dict[str, int]:
    shard.path("rows", ".txt").write_text(task)
    return {"n": 1}


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    (tmp_path / ".shards").mkdir()
    return Draft(tmp_path, "toy", "id")


def orphan(draft: Draft, end: Callable[[], None]) -> threading.Thread:
    """Holds shard 0 for a moment, as a worker does whose parent was killed, and then ends so."""
    lock = (draft.path / ".shards" / "00000.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def work() -> None:
        time.sleep(0.3)
        end()
        lock.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def half_done(draft: Draft) -> None:
    (draft.path / "rows-00000.txt.tmp").write_text("half")


def test_what_an_orphan_leaves_half_done_goes_and_the_shard_is_done_again(draft: Draft) -> None:
    thread = orphan(draft, lambda: half_done(draft))
    counts = map_shards(draft, ["a", "b"], write, Parallel(workers=1), label="toy")
    thread.join()
    assert counts == {"n": 2}
    assert {p.name: p.read_text() for p in draft.path.glob("rows*")} == {
        "rows-00000.txt": "a",
        "rows-00001.txt": "b",
    }


def test_a_shard_that_an_orphan_finishes_is_not_done_again(draft: Draft) -> None:
    def end() -> None:
        path = draft.path / "rows-00000.txt"
        path.write_text("by the orphan")
        record = {"counts": {"n": 1}, "files": [asdict(file_entry(path, draft.path))]}
        write_json(draft.path / ".shards" / "00000.json", record)

    thread = orphan(draft, end)
    counts = map_shards(draft, ["a"], write, Parallel(workers=1), label="toy")
    thread.join()
    assert counts == {"n": 1}
    assert (draft.path / "rows-00000.txt").read_text() == "by the orphan"


def test_a_table_that_cannot_be_read_is_named_with_the_cure(tmp_path: Path) -> None:
    def work(draft: Draft) -> None:
        Shard(draft.path, 0).write_rows("rows", [{"n": 1}], pa.schema([("n", pa.int64())]))

    made = produce(tmp_path / "a", kind="toy", version=1, config={}, inputs=[], work=work)
    assert list(read_rows(made, "rows")) == [{"n": 1}]
    path = made.path / "rows-00000.parquet"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(ArtifactError, match=r"rows-00000.parquet is damaged .*; delete"):
        list(read_rows(made, "rows"))


def new(folder: Path) -> Draft:
    folder.mkdir()
    return Draft(folder, "toy", "id")


@pytest.mark.long
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_tasks_that_nobody_counted_become_the_same_shards(tmp_path: Path, n: int) -> None:
    counted, uncounted = new(tmp_path / "a"), new(tmp_path / "b")
    texts = [str(i) for i in range(n)]
    first = map_shards(counted, texts, write, Parallel(workers=1), label="toy")
    assert map_shards(uncounted, iter(texts), write, Parallel(workers=2), label="toy") == first
    names = sorted(p.name for p in counted.path.iterdir())
    assert sorted(p.name for p in uncounted.path.iterdir()) == names


def test_of_uncounted_tasks_only_the_unfinished_are_done_again(tmp_path: Path) -> None:
    place = new(tmp_path / "a")
    map_shards(place, iter("abc"), write, Parallel(workers=1), label="toy")
    paths = [place.path / f"rows-0000{i}.txt" for i in range(3)]
    before = [path.stat().st_mtime_ns for path in paths]
    (place.path / ".shards" / "00001.json").unlink()
    assert map_shards(place, iter("abc"), write, Parallel(workers=2), label="toy") == {"n": 3}
    assert [path.read_text() for path in paths] == ["a", "b", "c"]
    after = [path.stat().st_mtime_ns for path in paths]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize("damage", [b"", b"B", None])
def test_a_shard_whose_file_is_not_that_of_its_record_is_done_again(
    draft: Draft, damage: bytes | None
) -> None:
    """Emptied, changed in one byte, or gone."""
    map_shards(draft, ["a", "b"], write, Parallel(workers=1), label="toy")
    path = draft.path / "rows-00001.txt"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert map_shards(draft, ["a", "b"], write, Parallel(workers=1), label="toy") == {"n": 2}
    assert path.read_text() == "b"


@pytest.mark.parametrize("record", ["", "{", '{"n": 1}', '{"counts": {}, "files": [1]}'])
def test_a_damaged_record_is_no_record(draft: Draft, record: str) -> None:
    map_shards(draft, ["a"], write, Parallel(workers=1), label="toy")
    (draft.path / ".shards" / "00000.json").write_text(record)
    assert map_shards(draft, ["a"], write, Parallel(workers=1), label="toy") == {"n": 1}
