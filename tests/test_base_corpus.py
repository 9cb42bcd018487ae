"""The tool that builds the base model's corpus: what it reads, and what it says of the rest."""

import importlib.util
import io
import json
import tarfile
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load("base_corpus")


def archive(path: Path, files: dict[str, str], link: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        if link:
            member = tarfile.TarInfo("p/link")
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
    return path


@pytest.fixture
def options(tmp_path: Path) -> Namespace:
    return Namespace(
        archives=tmp_path / "in", out_dir=tmp_path / "out", sample=0, seed=0, workers=1
    )


@pytest.mark.long
def test_a_refused_archive_is_said_with_its_reason_and_the_others_are_read(
    tool: ModuleType, options: Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"p/LICENSE": (ROOT / "LICENSE").read_text(), "p/a.py": "def f(x):\n    return x\n"}
    archive(options.archives / "pypi" / "good@1~~good.tar.gz", good)
    archive(options.archives / "pypi" / "bad@2~~bad.tar.gz", good, link="../../etc/passwd")
    raws = tool.collect_packages(tool.Stations(options), options)
    assert list(raws) == ["pypi"]
    (path,) = raws["pypi"].glob("documents-*.parquet")
    assert pq.read_table(path)["path"].to_pylist() == ["a.py"]
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {
        "refused": "bad@2~~bad",
        "reason": "holds a link that leads out of it: 'p/link'; not read",
    } in said


def test_a_station_that_fails_ends_it_with_the_name_of_the_station(
    tool: ModuleType, options: Namespace
) -> None:
    with pytest.raises(SystemExit, match=r"codling data collect ended with 2 for .*raw"):
        tool.Stations(options).run("data collect", "x/raw", options.archives / "missing")


def test_packages_are_whole_archives_in_the_order_of_their_names(
    tool: ModuleType, tmp_path: Path
) -> None:
    for name in ("b@1~~b.whl", "a@1~~a.whl", "half.partial", "c@2~~c.tar.gz"):
        (tmp_path / name).touch()
    assert [p.name[0] for p in tool.packages(tmp_path, 0, 0)] == ["a", "b", "c"]
    assert len(tool.packages(tmp_path, 2, 0)) == 2
    assert tool.packages(tmp_path / "absent", 0, 0) == []


def write_station(folder: Path, rows: list[dict[str, Any]], counts: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "documents-00000.parquet")
    (folder / "manifest.json").write_text(json.dumps({"counts": counts}))


def test_the_card_counts_what_is_trained_on_with_its_repeats(tmp_path: Path) -> None:
    card = load("base_card")
    rows = [
        {"repo": "b@1~~b.whl", "language": "python", "license": "MIT", "n_bytes": 3_000_000},
        {"repo": "c@2~~c.whl", "language": "go", "license": "ISC", "n_bytes": 1_000_000},
    ]
    rows = [row | {"source": row["repo"], "sha256": str(i)} for i, row in enumerate(rows)]
    left_out = {"documents": 2, "dropped": 3, "dropped_by_rule": {"generated": 2, "empty": 1}}
    write_station(tmp_path / "pypi" / "raw", rows, left_out)
    write_station(tmp_path / "pypi" / "unique", rows, {"documents": 2, "dropped": 7})
    (tmp_path / "samples").mkdir()
    samples = [
        {"id": "x", "split": "train", "sha256s": ["0", "1"]},
        {"id": "x#2", "split": "train", "sha256s": ["1"]},
        {"id": "y", "split": "heldout", "sha256s": ["0"]},
    ]
    pq.write_table(pa.Table.from_pylist(samples), tmp_path / "samples" / "samples-00000.parquet")
    lines = list(card.card(tmp_path, 1))
    assert "| pypi | raw | 2 | 4.0 | generated 2, empty 1 |" in lines
    assert "| pypi | unique | 2 | 4.0 | near-duplicate 7 |" in lines
    assert "| python | 3.0 | 60.0% |" in lines
    assert "| 1 others | 2.0 | 40.0% |" in lines
    assert "2 sources, 5.0 MB; the largest:" in lines
    assert "| b@1 | 3.0 | 60.0% |" in lines
