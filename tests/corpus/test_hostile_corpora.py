"""Archives, folders and corpora made to break a reader: one row or one line, never a traceback."""

import gzip
import io
import json
import os
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codling.core.artifact import Artifact, open_artifact
from codling.core.errors import CodlingError, SourceError
from codling.core.shards import read_rows
from codling.corpus.collect import collect
from codling.corpus.config import CollectConfig
from codling.corpus.sources.archives import open_archive
from codling.corpus.sources.dumps import DumpRow, read_dump
from codling.corpus.sources.folders import open_folder
from codling.corpus.sources.open import open_sources
from codling.corpus.sources.repository import Archive

GOOD = {"content": "x = 1\n", "path": "a.py"}


def run(tmp_path: Path, *sources: Path) -> Artifact:
    return collect(CollectConfig(sources=sources, out_dir=tmp_path / "raw", workers=1))


def paths(artifact: Artifact) -> list[str]:
    return [row["path"] for row in read_rows(artifact, "documents")]


def dropped(artifact: Artifact) -> dict[str, tuple[str, str]]:
    rows = read_rows(artifact, "dropped")
    return {row["path"]: (row["rule"], row["value"]) for row in rows}


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dump_rows(path: Path, *rows: object) -> list[DumpRow]:
    return list(read_dump(jsonl(path, *rows), "dump"))


NOTHING = [
    ({"content": None, "path": "b.py"}, "null"),
    ({"path": "b.py"}, "null"),
    ({"content": 5, "path": "b.py"}, "no text"),
    ({"content": ["x"], "path": "b.py"}, "no text"),
]


@pytest.mark.long
@pytest.mark.parametrize(("row", "value"), NOTHING)
def test_a_row_without_text_is_counted_and_passed_over(
    row: dict[str, Any], value: str, tmp_path: Path
) -> None:
    raw = run(tmp_path, jsonl(tmp_path / "c.jsonl", row, GOOD))
    assert paths(raw) == ["a.py"]
    assert dropped(raw) == {"b.py": ("no-content", value)}
    assert raw.manifest.counts["dropped_by_rule"] == {"no-content": 1}


@pytest.mark.long
@pytest.mark.parametrize("row", [None, [1], "text"])
def test_a_line_that_is_no_row_is_passed_over_as_well(row: object, tmp_path: Path) -> None:
    raw = run(tmp_path, jsonl(tmp_path / "c.jsonl", GOOD, row))
    assert paths(raw) == ["a.py"]
    assert dropped(raw) == {"1.txt": ("no-content", "null")}


def test_a_null_in_a_parquet_corpus_is_passed_over(tmp_path: Path) -> None:
    rows = [{"content": None, "path": "b.py"}, GOOD]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    raw = run(tmp_path, tmp_path / "c.parquet")
    assert dropped(raw) == {"b.py": ("no-content", "null")}
    pq.write_table(pa.table({"path": ["a.py"]}), tmp_path / "none.parquet")
    with pytest.raises(SourceError, match="no column content, text, code"):
        list(read_dump(tmp_path / "none.parquet", "x"))


TIMES = [1e30, -1e30, 10**40, "31 December", "0001-01-01", True * 1e12, -5, [1], {}]


@pytest.mark.long
@pytest.mark.parametrize("stated", TIMES, ids=str)
def test_a_time_that_is_none_is_left_out(stated: object, tmp_path: Path) -> None:
    (row,) = dump_rows(tmp_path / "c.jsonl", GOOD | {"changed_at": stated})
    assert row.changed_at is None
    run(tmp_path, tmp_path / "c.jsonl")


def test_a_time_that_is_one_is_kept(tmp_path: Path) -> None:
    stated = [1.7e9, "2023-11-14T22:13:20", "2023-11-14T22:13:20+00:00"]
    rows = dump_rows(tmp_path / "c.jsonl", *(GOOD | {"changed_at": t} for t in stated))
    assert [row.changed_at for row in rows] == [1_700_000_000] * 3


@pytest.mark.parametrize("column", ["path", "repo_name", "content", "license"])
def test_half_a_surrogate_pair_in_a_row_is_no_traceback(column: str, tmp_path: Path) -> None:
    raw = run(tmp_path, jsonl(tmp_path / "c.jsonl", GOOD, GOOD | {column: "y = 2\n\ud800.py"}))
    assert raw.manifest.counts["documents"] == 2


def test_names_that_are_not_utf8_are_shown_escaped(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    root.mkdir()
    (root / os.fsdecode(b"a\xfe.py")).write_text("x = 1\n")
    raw = run(tmp_path, root)
    (row,) = read_rows(raw, "documents")
    assert (row["source"], row["path"]) == ("odd\\xff", "a\\xfe.py")


def test_a_path_of_more_than_4096_bytes_is_cut_and_not_read(tmp_path: Path) -> None:
    long = "d/" * 3000 + "a.py"
    raw = run(tmp_path, jsonl(tmp_path / "c.jsonl", GOOD, GOOD | {"path": long}))
    ((path, why),) = dropped(raw).items()
    assert why == ("unreadable", "a path of 6,004 bytes")
    assert len(path) < 200
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        for name in ("top/a.py", f"top/{long}"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    entries: list[Any] = list(_entries(tmp_path / "c.tar", tmp_path))
    assert [e.rule for e in entries] == ["", "unreadable"]


@pytest.mark.long
@pytest.mark.parametrize(("depth", "width"), [(1500, 1), (40, 200)])
def test_deep_folders_are_walked_as_far_as_the_system_goes(
    depth: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "z.py").write_text("z = 1\n")
    monkeypatch.chdir(top)
    for _ in range(depth):
        Path("d" * width).mkdir()
        os.chdir("d" * width)
    Path("a.py").write_text("x = 1\n")
    os.chdir(top)
    (repository,) = open_folder(top, "top")
    names = [e.path.rpartition("/")[2] for e in repository.entries if not e.rule]
    is_reached = depth * (width + 1) + len(str(top)) < 4000
    assert names == (["a.py", "z.py"] if is_reached else ["z.py"])
    raw = run(tmp_path, top)
    assert raw.manifest.counts["documents"] == len(names)
    for _ in range(depth):  # pytest removes folders by recursion
        os.chdir("d" * width)
    for _ in range(depth):
        Path("a.py").unlink(missing_ok=True)
        os.chdir("..")
        Path("d" * width).rmdir()


def _entries(path: Path, scratch: Path) -> list[object]:
    archive = Archive("a", str(path), path.stat().st_size, "x")
    with open_archive(archive, scratch) as repository:
        return list(repository.entries)


def _tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with path.open("wb") as file:
        for member in members:
            is_pax = bool(member.pax_headers)
            file.write(member.tobuf(tarfile.PAX_FORMAT if is_pax else tarfile.GNU_FORMAT))
        file.write(bytes(1024))
    return path


@pytest.mark.parametrize(
    "size", [2**90, 2**63, 2**40, -(2**40)], ids=["2^90", "2^63", "2^40", "less than none"]
)
def test_a_tar_member_that_states_an_endless_size_is_one_line(size: int, tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.py")
    if abs(size) < 2**88:
        member.size = size
    else:
        member.pax_headers = {"size": str(size)}
    with pytest.raises(SourceError, match="damaged or no archive"):
        run(tmp_path, _tar(tmp_path / "a.tar", member))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_header_of_a_gigabyte_is_not_read(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("header")
    member.type, member.size = kind, 2**30
    with pytest.raises(SourceError, match="a header of 1,073,741,824 bytes"):
        run(tmp_path, _tar(tmp_path / "a.tar", member))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_chain_of_tar_headers_that_describe_headers_is_one_line(
    kind: bytes, tmp_path: Path
) -> None:
    chain = b""
    for _ in range(1200):
        member = tarfile.TarInfo("header")
        member.type, member.size = kind, 11
        chain += member.tobuf(tarfile.GNU_FORMAT) + b"11 path=ab\n".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(chain + bytes(1024))
    with pytest.raises(SourceError, match=r"a\.tar is damaged or no archive"):
        run(tmp_path, tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("n_bytes", "n_members", "is_read"),
    [(1_000_000, 101, False), (1_000_000, 99, True), (40_000_000, 3, True)],
    ids=["over 100 MB", "below", "of members that are never read"],
)
def test_a_zip_file_whose_members_together_unpack_too_far_is_refused(
    n_bytes: int, n_members: int, is_read: bool, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for number in range(n_members):
            zipped.writestr(f"{number}.py", "x = 1\n")
        for member in zipped.filelist:
            member.file_size = n_bytes
    archive = Archive("bomb", str(path), path.stat().st_size, "0")
    if is_read:
        with open_archive(archive, tmp_path) as repository:
            assert len(repository.entries) == n_members
    else:
        with pytest.raises(SourceError, match="more than 250 times its size"):
            open_archive(archive, tmp_path).__enter__()


def test_a_zip_member_that_states_2_to_the_64_bytes_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a.py", "x = 1\n")
        zipped.writestr("b.py", "y = 1\n")
        zipped.filelist[0].file_size = 2**64 - 2
    raw = run(tmp_path, path)
    assert dropped(raw)["a.py"][0] == "too-large"
    assert paths(raw) == ["b.py"]


@pytest.mark.long
def test_a_small_file_that_unpacks_to_one_endless_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(200):
            file.write(bytes(1_000_000).replace(b"\0", b" "))
    assert path.stat().st_size < 300_000
    with pytest.raises(SourceError, match="line 1 has more than 128,000,000 bytes"):
        run(tmp_path, path)


@pytest.mark.parametrize("name", ["c.parquet", "c.tar", "c.zip", "c.jsonl.gz", "c.tar.gz"])
def test_flipped_bits_give_rows_or_one_line(name: str, tmp_path: Path) -> None:
    rows = [GOOD | {"path": f"{i}.py", "repo_name": "r", "license": "MIT"} for i in range(50)]
    path = tmp_path / name
    if name == "c.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif name.endswith(".gz") and "jsonl" in name:
        path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    elif ".tar" in name:
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tar:
            for row in rows[:5]:
                member = tarfile.TarInfo(row["path"])
                member.size = 6
                tar.addfile(member, io.BytesIO(b"x = 1\n"))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for row in rows:
                zipped.writestr(row["path"], "x = 1\n")
    whole = path.read_bytes()
    rng, messages = random.Random(0), []
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 4])):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(damaged))
        try:
            (source,) = open_sources([path])
            assert isinstance(source, Archive)
            if source.is_dump:
                list(read_dump(path, "c"))
            else:
                with open_archive(source, tmp_path) as opened:
                    list(opened.reader.read([e for e in opened.entries if not e.rule]))
        except CodlingError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in each for each in messages)


@pytest.mark.parametrize("inside", [[], [".git/HEAD"], ["node_modules/x.js"]])
def test_a_source_without_files_says_so(inside: list[str], tmp_path: Path) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    for name in inside:
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("x")
    with pytest.raises(SourceError, match="holds no files"):
        run(tmp_path, root)


def test_the_git_folder_of_an_archive_is_passed_over_and_none_of_it_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("app/a.py", "x = 1\n")
        zipped.writestr("app/.git/HEAD", "ref: refs/heads/main\n")
        zipped.writestr("app/.git/config", f"[core]\n\tfsmonitor = touch {marker}\n")
        zipped.writestr("app/sub/.git/hooks/run.sh", f"touch {marker}\n")
        zipped.writestr("app/.gitignore.py", "y = 1\n")
    raw = run(tmp_path, tmp_path / "a.zip")
    assert paths(raw) == ["a.py", ".gitignore.py"]
    assert {rule for rule, _ in dropped(raw).values()} == {"passed-over"}
    assert not marker.exists()


def test_the_folder_one_stands_in_is_no_artefact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodlingError):
        open_artifact(Path(), "raw")


def test_a_zip_file_whose_table_would_begin_before_it_is_one_line(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as made:
        made.writestr("a/a.py", "x = 1\n")
    data = bytearray(place.read_bytes())
    data[-10:-6] = (1 << 20).to_bytes(4, "little")  # the size of the table
    place.write_bytes(data)
    config = CollectConfig(sources=(place,), out_dir=tmp_path / "raw", own=True)
    with pytest.raises(SourceError, match=r"a\.zip"):
        collect(config)
