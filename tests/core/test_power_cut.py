"""A mapping stage whose power is cut at every system call: the next run gives the bytes of an
undisturbed one."""

import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from codling.core.artifact import Artifact, Draft, open_artifact, produce, verify
from codling.core.files import replace_file, write_json
from codling.core.shards import Parallel, Shard, map_shards
from core.power_cut import Disk, PowerCutError, cut_everywhere, watched

SCHEMA = pa.schema([("n", pa.int64())])


def first_pass(task: int, shard: Shard) -> dict[str, int]:
    with replace_file(shard.path("ids", ".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, ids=np.arange(task))
    return {"n": task}


def second_pass(task: Path, shard: Shard) -> dict[str, int]:
    """One file written whole, one as a stage might write it that knows nothing of power cuts."""
    ids = np.load(task)["ids"].tolist()
    shard.write_rows("rows", [{"n": n} for n in ids], SCHEMA)
    shard.path("text", ".txt").write_text(str(ids))
    return {"rows": len(ids)}


def stage(out_dir: Path, config: dict[str, int]) -> Artifact:
    def work(draft: Draft) -> None:
        inner = draft.inner("ids")
        tasks = [config["n"], config["n"] + 1]
        map_shards(inner, tasks, first_pass, Parallel(workers=1), label="one")
        paths = [Shard(inner.path, i).path("ids", ".npz") for i in range(2)]
        draft.counts.update(map_shards(draft, paths, second_pass, Parallel(workers=1), label="two"))
        write_json(draft.file("meta/about.json"), config)
        draft.file("stream.bin").write_bytes(b"tokens")

    return produce(out_dir, kind="toy", version=1, config=config, inputs=[], work=work)


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, whose seconds differ."""
    paths = [p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


@pytest.fixture(autouse=True)
def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is asked for thousands of times here."""
    monkeypatch.setattr("codling.core.artifact.code_version", lambda: {})


@pytest.fixture
def calm(tmp_path: Path) -> Artifact:
    """An undisturbed run."""
    return stage(tmp_path / "calm", {"n": 3})


@pytest.mark.long
@pytest.mark.parametrize(
    "every_kind", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["in turn", "every kind"]
)
@pytest.mark.parametrize("begin", ["nothing", "an earlier result"])
def test_a_cut_at_any_call_of_a_mapping_stage_changes_nothing(
    tmp_path: Path, calm: Artifact, begin: str, every_kind: bool
) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    if begin == "an earlier result":
        stage(root / "toy", {"n": 1})
        stage(root / "toy", {"n": 2})

    def check() -> None:
        made = stage(root / "toy", {"n": 3})
        assert made.manifest.files == calm.manifest.files
        assert made.counts == calm.counts
        assert content(made.path) == content(calm.path)
        verify(open_artifact(root / "toy"))
        assert not (root / "toy.partial").exists()

    n = cut_everywhere(root, lambda: stage(root / "toy", {"n": 3}), check, every_kind=every_kind)
    assert n > 40


def test_a_cut_after_the_stage_returned_loses_nothing(tmp_path: Path, calm: Artifact) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    with watched(disk := Disk(root, stop_at=0)):
        stage(root / "toy", {"n": 3})
        disk.stop_at = disk.n_calls + 1
        with pytest.raises(PowerCutError):
            (root / "other").mkdir()
    disk.leave("lost", random.Random(0))
    assert content(calm.path).items() <= content(root / "toy").items()
    verify(open_artifact(root / "toy"))


def test_the_disk_forgets_what_was_not_synced(tmp_path: Path) -> None:
    """The test of the tests: without any sync, an emptied file and an undone rename."""
    root = tmp_path / "disk"
    root.mkdir()
    for kind, left in [("killed", {"b": b"x"}), ("emptied", {"b": b""}), ("lost", {})]:
        shutil.rmtree(root)
        root.mkdir()
        with watched(disk := Disk(root, stop_at=2)):
            (root / "a").write_text("x")
            with pytest.raises(PowerCutError):
                (root / "a").rename(root / "b")
        disk.leave(kind, random.Random(0))
        assert content(root) == left
