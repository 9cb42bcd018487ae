import errno
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codling.core.artifact import (
    Draft,
    Input,
    content_id,
    is_complete,
    open_artifact,
    produce,
    verify,
)
from codling.core.errors import ArtifactError, StorageError
from codling.core.plan import fresh_start
from codling.core.recipe import aside, length


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    text: str = "hello"
    workers: int = aside(1)


def make(out_dir: Path, config: ToyConfig, calls: list[str] | None = None):
    def work(draft: Draft) -> None:
        if calls is not None:
            calls.append(config.text)
        draft.file("a/text.txt").write_text(config.text)
        draft.counts["n"] = len(config.text)

    return produce(out_dir, kind="toy", version=1, config=config, inputs=[], work=work)


def test_a_finished_artefact_is_not_made_again(tmp_path: Path) -> None:
    calls: list[str] = []
    first = make(tmp_path / "toy", ToyConfig(), calls)
    second = make(tmp_path / "toy", ToyConfig(workers=8), calls)
    assert calls == ["hello"]
    assert first.id == second.id
    assert second.counts == {"n": 5}
    assert is_complete(tmp_path / "toy", kind="toy", version=1, config=ToyConfig(), inputs=[])


def test_another_config_makes_it_anew_and_keeps_the_previous_one(tmp_path: Path) -> None:
    make(tmp_path / "toy", ToyConfig())
    make(tmp_path / "toy", ToyConfig(text="bye"))
    assert (tmp_path / "toy/a/text.txt").read_text() == "bye"
    assert (tmp_path / "toy.previous/a/text.txt").read_text() == "hello"


def test_an_input_is_not_replaced_by_what_is_made_from_it(tmp_path: Path) -> None:
    first = make(tmp_path / "toy", ToyConfig())
    (tmp_path / "link").symlink_to(tmp_path / "toy")
    for out_dir in (tmp_path / "toy", tmp_path / "link"):
        with pytest.raises(ArtifactError, match=r"is to be read as well \(toy\); choose another"):
            produce(
                out_dir, kind="other", version=1, config={}, inputs=[first], work=lambda _: None
            )
    assert open_artifact(tmp_path / "toy", "toy").id == first.id


def test_the_id_depends_on_config_inputs_and_version_but_not_on_settings_put_aside() -> None:
    source = Input(kind="source", id="abc", path="/x")
    ids = {
        content_id("toy", 1, ToyConfig(), []),
        content_id("toy", 2, ToyConfig(), []),
        content_id("toy", 1, ToyConfig(text="x"), []),
        content_id("toy", 1, ToyConfig(), [source]),
    }
    assert len(ids) == 4
    assert content_id("toy", 1, ToyConfig(workers=3), []) in ids


def stop_halfway(out_dir: Path, config: ToyConfig, version: int = 1, inputs=()) -> Path:
    """What an interruption leaves: NAME.partial with a file."""

    def fail(draft: Draft) -> None:
        draft.file("half.txt").write_text("stale")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        produce(out_dir, kind="toy", version=version, config=config, inputs=inputs, work=fail)
    return out_dir.with_name(out_dir.name + ".partial")


def test_unfinished_work_of_another_config_is_neither_continued_nor_deleted(tmp_path: Path) -> None:
    partial = stop_halfway(tmp_path / "toy", ToyConfig(text="x"))
    with pytest.raises(ArtifactError) as caught:
        make(tmp_path / "toy", ToyConfig())
    assert "text hello instead of x" in str(caught.value)
    assert "--fresh" in str(caught.value)
    assert (partial / "half.txt").read_text() == "stale"
    with fresh_start():
        made = make(tmp_path / "toy", ToyConfig())
    assert [f.name for f in made.manifest.files] == ["a/text.txt"]
    assert not partial.exists()


SOURCE = Input(kind="source", id="abc", path="/x")


@pytest.mark.parametrize(
    ("begun", "said"),
    [({"version": 2}, "another version of the stage"), ({"inputs": [SOURCE]}, "other inputs")],
)
def test_work_of_another_version_or_from_other_inputs_stays_too(
    tmp_path: Path, begun: dict[str, Any], said: str
) -> None:
    partial = stop_halfway(tmp_path / "toy", ToyConfig(), **begun)
    with pytest.raises(ArtifactError, match=said):
        make(tmp_path / "toy", ToyConfig())
    assert (partial / "half.txt").exists()


def test_with_fresh_start_work_of_the_same_config_is_dropped_as_well(tmp_path: Path) -> None:
    stop_halfway(tmp_path / "toy", ToyConfig())
    with fresh_start():
        made = make(tmp_path / "toy", ToyConfig())
    assert [f.name for f in made.manifest.files] == ["a/text.txt"]


def test_where_nothing_was_done_yet_other_settings_just_begin(tmp_path: Path) -> None:
    def fail(draft: Draft) -> None:
        draft.inner("pass")
        raise ArtifactError("a mistake that was noticed at once")

    with pytest.raises(ArtifactError, match="at once"):
        produce(tmp_path / "toy", kind="toy", version=1, config={}, inputs=[], work=fail)
    assert not list(tmp_path.iterdir())  # nothing that looks like unfinished work
    assert make(tmp_path / "toy", ToyConfig()).counts == {"n": 5}


@pytest.mark.parametrize("is_fresh", [False, True])
def test_a_folder_of_the_user_that_is_called_partial_is_not_touched(
    tmp_path: Path, is_fresh: bool
) -> None:
    (tmp_path / "toy.partial").mkdir()
    (tmp_path / "toy.partial/thesis.txt").write_text("years of work")
    with (
        fresh_start() if is_fresh else nullcontext(),
        pytest.raises(ArtifactError, match="not codling's; move them away"),
    ):
        make(tmp_path / "toy", ToyConfig())
    assert (tmp_path / "toy.partial/thesis.txt").read_text() == "years of work"


def test_a_folder_of_the_user_that_is_called_previous_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "toy.previous").mkdir()
    (tmp_path / "toy.previous/thesis.txt").write_text("years of work")
    make(tmp_path / "toy", ToyConfig())
    with pytest.raises(ArtifactError, match=r"toy\.previous is in the way"):
        make(tmp_path / "toy", ToyConfig(text="bye"))
    (tmp_path / "toy.previous").rename(tmp_path / "mine")
    calls: list[str] = []
    assert make(tmp_path / "toy", ToyConfig(text="bye"), calls).counts == {"n": 3}
    assert calls == [], "the finished work should have been kept"


@dataclass(frozen=True, kw_only=True)
class LongConfig:
    minutes: float = length(5.0)
    width: int = 8


def test_work_goes_on_with_another_length_and_the_manifest_says_so(tmp_path: Path) -> None:
    ids = []
    for minutes in (30.0, 31.0):
        with pytest.raises(KeyboardInterrupt):
            produce_long(tmp_path / "toy", LongConfig(minutes=minutes), stop=True)
        ids.append(json.loads((tmp_path / "toy.partial/plan.json").read_text())["id"])
    made = produce_long(tmp_path / "toy", LongConfig(minutes=32.0))
    assert made.counts == {"steps": 3, "earlier_lengths": [{"minutes": 30.0}, {"minutes": 31.0}]}
    assert made.id == content_id("toy", 1, LongConfig(minutes=32.0), [])
    assert len({*ids, made.id}) == 3
    with pytest.raises(KeyboardInterrupt):
        produce_long(tmp_path / "toy", LongConfig(minutes=5.0), stop=True)
    with pytest.raises(ArtifactError, match="width 9 instead of 8"):
        produce_long(tmp_path / "toy", LongConfig(minutes=5.0, width=9))


def produce_long(out_dir: Path, config: LongConfig, stop: bool = False):
    """A step more each time, kept in the unfinished folder."""

    def work(draft: Draft) -> None:
        steps = draft.file(".shards/steps.txt")
        with steps.open("a") as file:
            file.write("x")
        if stop:
            raise KeyboardInterrupt
        draft.counts["steps"] = len(steps.read_text())

    return produce(out_dir, kind="toy", version=1, config=config, inputs=[], work=work)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        OSError("800 requested and 12 written"),
    ],
)
def test_a_full_disk_is_one_line_and_the_work_stays(tmp_path: Path, error: Exception) -> None:
    def fail(draft: Draft) -> None:
        draft.file(".shards/state").write_text("step 231")
        raise error

    with pytest.raises(StorageError, match=r"the disk is full: .*it resumes") as caught:
        produce(tmp_path / "toy", kind="toy", version=1, config={}, inputs=[], work=fail)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "toy.partial/.shards/state").read_text() == "step 231"
    assert not (tmp_path / "toy").exists()


@pytest.mark.parametrize(
    "error", [OSError(errno.EFBIG, "File too large"), RuntimeError("I/O error: File too large")]
)
def test_a_limit_on_files_is_one_line_with_the_cure(tmp_path: Path, error: Exception) -> None:
    def fail(_draft: Draft) -> None:
        raise error

    with pytest.raises(StorageError, match=r"may not grow so large: .*ulimit -f.*it resumes"):
        produce(tmp_path / "toy", kind="toy", version=1, config={}, inputs=[], work=fail)


def test_a_complete_folder_that_was_not_renamed_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codling.core.artifact._move_into_place", stop)
    calls: list[str] = []
    for _ in "ab":
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "toy", ToyConfig(), calls)
    assert calls == ["hello"]
    (tmp_path / "toy.partial/a/text.txt").write_text("hullo")  # damaged after all
    monkeypatch.undo()
    assert make(tmp_path / "toy", ToyConfig(), calls).counts == {"n": 5}
    assert calls == ["hello", "hello"]
    assert (tmp_path / "toy/a/text.txt").read_text() == "hello"


def test_what_only_served_the_work_is_removed_by_the_next_call_at_the_latest(tmp_path: Path):
    made = make(tmp_path / "toy", ToyConfig())
    (made.path / ".shards").mkdir()
    (made.path / ".shards/00000.json").write_text("{}")
    (made.path / "plan.json").write_text("{}")
    make(tmp_path / "toy", ToyConfig())
    assert sorted(p.name for p in made.path.iterdir()) == ["a", "manifest.json"]


def test_inputs_are_recorded_relative_to_the_artefact(tmp_path: Path) -> None:
    first = make(tmp_path / "run/one", ToyConfig())
    second = produce(
        tmp_path / "run/two",
        kind="toy",
        version=1,
        config=ToyConfig(),
        inputs=[first],
        work=lambda _: None,
    )
    assert second.manifest.inputs == (Input(kind="toy", id=first.id, path="../one"),)


@pytest.mark.long
@pytest.mark.parametrize("damage", ["{not json", '{"kind": "toy"}', ""])
def test_a_corrupt_manifest_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    make(tmp_path / "toy", ToyConfig())
    (tmp_path / "toy/manifest.json").write_text(damage)
    with pytest.raises(
        ArtifactError, match=r"manifest.json is damaged; delete the folder"
    ) as caught:
        make(tmp_path / "toy", ToyConfig())
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_found_on_opening_and_a_changed_one_by_verify(tmp_path: Path) -> None:
    made = make(tmp_path / "toy", ToyConfig())
    (made.path / "a/text.txt").write_text("hullo")
    with pytest.raises(ArtifactError, match="differs from its manifest"):
        verify(open_artifact(made.path, "toy"))
    (made.path / "a/text.txt").write_text("h")
    with pytest.raises(ArtifactError, match="has 1 bytes instead of 5"):
        open_artifact(made.path)


def test_a_table_that_a_stage_cannot_read_is_named_with_the_cure(tmp_path: Path) -> None:
    def write(draft: Draft) -> None:
        pq.write_table(pa.table({"n": list(range(1000))}), draft.file("rows-00000.parquet"))

    made = produce(tmp_path / "a", kind="toy", version=1, config={}, inputs=[], work=write)
    path = made.path / "rows-00000.parquet"
    path.write_bytes(path.read_bytes()[:-50] + b"x" * 50)

    def read(_: Draft) -> None:
        pq.read_table(path)

    with pytest.raises(ArtifactError, match=r"rows-00000.parquet differs .* run its stage again"):
        produce(tmp_path / "b", kind="toy", version=1, config={}, inputs=[made], work=read)

    def fail(_: Draft) -> None:
        raise ValueError("our own mistake")

    with pytest.raises(ValueError, match="our own mistake"):
        produce(tmp_path / "b", kind="toy", version=1, config={}, inputs=[made], work=fail)


def test_a_folder_of_the_user_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="is not an artefact"):
        make(tmp_path / "toy", ToyConfig())
    assert (tmp_path / "toy/thesis.txt").read_text() == "years of work"


def test_opening_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        open_artifact(tmp_path)
    (tmp_path / "x.partial").mkdir()
    with pytest.raises(ArtifactError, match="is unfinished"):
        open_artifact(tmp_path / "x")
    made = make(tmp_path / "toy", ToyConfig())
    with pytest.raises(ArtifactError, match="holds toy, but tokens is needed"):
        open_artifact(made.path, "tokens")


def test_two_processes_cannot_make_the_same_artefact(tmp_path: Path) -> None:
    def nested(_: Draft) -> None:
        with pytest.raises(ArtifactError, match="another process is working"):
            make(tmp_path / "toy", ToyConfig())

    produce(tmp_path / "toy", kind="toy", version=1, config=ToyConfig(), inputs=[], work=nested)


KILLED = """
import sys, time
from pathlib import Path
from codling.core.artifact import produce
from codling.core.shards import Parallel, map_shards

def work(task, shard):
    time.sleep(0.05)
    shard.path("text", ".txt").write_text(f"task {task}")
    return {"n": task}

def main():
    def fill(draft):
        draft.counts.update(map_shards(draft, range(12), work, Parallel(workers=2), label="toy"))
    produce(Path(sys.argv[1]), kind="toy", version=1, config={}, inputs=[], work=fill)

if __name__ == "__main__":
    main()
"""


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.long
def test_after_kill_9_the_result_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    script = tmp_path / "toy_stage.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script)]
    killed = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    records = tmp_path / "killed.partial/.shards"
    deadline = time.monotonic() + 600
    while len(list(records.glob("*.json"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = children(killed.pid)
    assert len(workers) >= 2
    killed.kill()
    killed.wait()
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.01)
    assert not (tmp_path / "killed").exists()
    already = {p.name: p.stat().st_mtime_ns for p in records.glob("*.json")}
    for name in ("killed", "calm"):
        subprocess.run([*command, str(tmp_path / name)], check=True, stderr=subprocess.DEVNULL)
    assert 3 <= len(already) < 12
    manifests = [
        json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("killed", "calm")
    ]
    assert manifests[0]["files"] == manifests[1]["files"]
    assert manifests[0]["counts"] == manifests[1]["counts"] == {"n": 66}
    assert not (tmp_path / "killed.partial").exists()
