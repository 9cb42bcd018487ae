import shutil
from pathlib import Path

import pytest

from codling.core.artifact import Artifact, Draft, Input, produce
from codling.core.errors import ArtifactError
from codling.core.lineage import TraceConfig, trace
from codling.core.shards import Parallel, Shard, map_shards, read_rows
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA, DROPPED_SCHEMA

ROW = {
    "source": "s",
    "repo": "r",
    "path": "a.py",
    "language": "python",
    "license": "MIT",
    "license_from": "header",
    "split": "train",
    "n_bytes": 3,
    "sha256": "0123456789abcdef",
    "content": "x=1",
    "n_redactions": 0,
}


def write(task, shard) -> dict[str, int]:
    shard.write_rows("documents", [{**ROW, "path": p} for p in task], DOCUMENT_SCHEMA)
    return {"n": len(task)}


def documents(folder: Path) -> Artifact:
    def work(draft: Draft) -> None:
        counts = map_shards(
            draft, [["a.py", "b.py"], ["c.py"]], write, Parallel(workers=1), label="toy"
        )
        draft.counts.update(counts)

    source = Input(kind="source", id="feed", path="/home/me/code")
    return produce(
        folder / "documents", kind="documents", version=1, config={}, inputs=[source], work=work
    )


def checkpoint(folder: Path) -> Artifact:
    return produce(
        folder / "checkpoint",
        kind="checkpoint",
        version=1,
        config={},
        inputs=[documents(folder)],
        work=lambda _: None,
    )


def test_a_checkpoint_is_traced_to_files_licences_and_sources(tmp_path: Path) -> None:
    made = checkpoint(tmp_path)
    text = trace(TraceConfig(path=made.path, files=True))
    assert "r: 3 files under MIT" in text
    assert "0123456789ab MIT (header) s:r/c.py" in text
    assert "source /home/me/code [feed]" in text


def test_a_moved_run_is_still_traced_and_a_lost_part_is_named(tmp_path: Path) -> None:
    checkpoint(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert "3 files under MIT" in trace(TraceConfig(path=tmp_path / "moved/checkpoint"))
    shutil.rmtree(tmp_path / "moved/documents")
    lost = trace(TraceConfig(path=tmp_path / "moved/checkpoint"))
    assert "is no longer at ../documents" in lost


def test_a_run_folder_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    with pytest.raises(ArtifactError, match="name one of checkpoint, documents"):
        trace(TraceConfig(path=tmp_path))


def test_what_stations_removed_is_told_by_rule_and_by_file(tmp_path: Path) -> None:
    first = documents(tmp_path)

    def work(draft: Draft) -> None:
        shard = Shard(draft.path, 0)
        shard.write_rows("documents", [ROW], DOCUMENT_SCHEMA)
        gone = {k: ROW[k] for k in ("source", "repo", "language", "license", "n_bytes")}
        gone |= {"path": "b.py", "rule": "near-duplicate", "value": "0.9 like s:r/a.py"}
        shard.write_rows("dropped", [gone], DROPPED_SCHEMA)

    second = produce(
        tmp_path / "unique", kind="documents", version=1, config={}, inputs=[first], work=work
    )
    note = {"left_out": ["screen: as --skip says"]}
    samples = produce(
        tmp_path / "samples", kind="samples", version=1, config=note, inputs=[second],
        work=lambda _: None,
    )  # fmt: skip
    lines = trace(TraceConfig(path=samples.path, files=True)).splitlines()
    assert "  did not pass screen: as --skip says" in lines
    assert "    r: 1 files under MIT" in lines
    assert "    removed 1 files: near-duplicate 1" in lines
    assert "    removed s:r/b.py: near-duplicate, 0.9 like s:r/a.py" in lines
    # The documents before were not learned from as they are: they are not listed.
    assert sum("0123456789ab MIT" in line for line in lines) == 1


def test_shards_are_read_in_order_with_chosen_columns(tmp_path: Path) -> None:
    rows = list(read_rows(documents(tmp_path), "documents", ["path"]))
    assert rows == [{"path": "a.py"}, {"path": "b.py"}, {"path": "c.py"}]
