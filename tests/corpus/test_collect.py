"""corpus/collect: sources of every kind become documents; bad ones end in one line."""

import os
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codling.core.artifact import Artifact
from codling.core.errors import CodlingError, ConfigError, SourceError
from codling.core.shards import read_rows
from codling.corpus.collect import collect
from codling.corpus.config import CollectConfig

MIT = Path(__file__).parents[2] / "LICENSE"


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def run(tmp_path: Path, *sources: Path, **settings: Any) -> Artifact:
    values = {"out_dir": tmp_path / "raw", "workers": 1} | settings
    return collect(CollectConfig(sources=sources, **values))  # type: ignore[arg-type]


def documents(artifact: Artifact) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in read_rows(artifact, "documents")}


def dropped(artifact: Artifact) -> dict[str, tuple[str, str]]:
    return {row["path"]: (row["rule"], row["value"]) for row in read_rows(artifact, "dropped")}


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True)


def repository(root: Path, files: Mapping[str, str | bytes]) -> Path:
    root.mkdir(parents=True)
    git(root, "init", "-q")
    write(root, files)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def test_a_folder_gives_its_source_files(tmp_path: Path) -> None:
    root = write(tmp_path / "app", {"a.py": "x = 1\n", "b/c.js": "f()\n", "pic.png": b"\x89PNG"})
    raw = run(tmp_path, root)
    assert set(documents(raw)) == {"a.py", "b/c.js"}
    assert documents(raw)["b/c.js"]["language"] == "javascript"
    assert documents(raw)["a.py"]["repo"] == "app"
    assert dropped(raw) == {"pic.png": ("no-language", "png")}
    assert raw.counts["documents"] == 2


def test_the_languages_of_coder_v2_can_be_asked_for(tmp_path: Path) -> None:
    root = write(tmp_path / "app", {"a.py": "x = 1\n", "b.swift": "let x = 1\n"})
    assert set(documents(run(tmp_path / "1", root))) == {"a.py"}
    more = run(tmp_path / "2", root, languages="coder-v2")
    assert documents(more)["b.swift"]["language"] == "swift"


def test_what_is_no_text_is_dropped_with_its_rule_and_value(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "good.py": "x = 1\n",
        "binary.py": b"x = 1\n\0\0",
        "latin.py": b"# caf\xe9\n",
        "empty.py": b" \n",
        "bom.py": b"\xef\xbb\xbfy = 2\n",
    }
    raw = run(tmp_path, write(tmp_path / "app", files))
    assert dropped(raw) == {
        "binary.py": ("binary", "NUL at byte 6"),
        "latin.py": ("not-utf8", "0xe9 at byte 5"),
        "empty.py": ("empty", "2 bytes"),
    }
    assert documents(raw)["bom.py"]["content"] == "y = 2\n"


def test_a_file_of_300_mb_is_dropped_without_being_read(tmp_path: Path) -> None:
    root = write(tmp_path / "app", {"good.py": "x = 1\n"})
    with (root / "huge.py").open("wb") as file:
        file.truncate(300_000_000)
    assert dropped(run(tmp_path, root)) == {"huge.py": ("too-large", "300000000 bytes")}


def test_links_are_not_followed_so_a_loop_ends(tmp_path: Path) -> None:
    root = write(tmp_path / "app", {"a.py": "x = 1\n"})
    (root / "loop").symlink_to(root)
    (root / "other.py").symlink_to(root / "a.py")
    raw = run(tmp_path, root)
    assert set(documents(raw)) == {"a.py"}
    assert dropped(raw)["loop"] == dropped(raw)["other.py"] == ("link", "not followed")


def test_installed_packages_and_caches_are_passed_over(tmp_path: Path) -> None:
    files = {
        "a.py": "1",
        "site-packages/b.py": "1",
        "__pycache__/a.pyc": "1",
        "node_modules/x.js": "1",
    }
    raw = run(tmp_path, write(tmp_path / "app", files))
    assert set(documents(raw)) == {"a.py"}
    assert dropped(raw)["site-packages"][0] == "passed-over"


def test_a_repository_gives_its_tracked_files(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", {"a.py": "x = 1\n", "dir/b.py": "y = 2\n"})
    write(root, {"untracked.py": "z = 3\n"})
    assert set(documents(run(tmp_path, root))) == {"a.py", "dir/b.py"}
    assert set(documents(run(tmp_path / "sub", root / "dir"))) == {"b.py"}


def test_a_bare_clone_whose_head_names_no_branch_is_told_the_cure(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", {"a.py": "x = 1\n"})
    git(root, "branch", "-q", "-m", "main")
    git(root, "branch", "-q", "fix/one")
    git(tmp_path, "clone", "-q", "--bare", str(root), "bare.git")
    bare = tmp_path / "bare.git"
    for pack in ([], ["pack-refs", "--all"]):
        if pack:
            git(bare, *pack)
        (bare / "HEAD").write_text("ref: refs/heads/master\n")
        cure = r"symbolic-ref HEAD refs/heads/fix/one` \(fix/one, main\)$"
        with pytest.raises(SourceError, match=cure):
            run(tmp_path, bare)
    (bare / "packed-refs").write_bytes(40 * b"1" + b" refs/heads/\x1b[2J\n")
    with pytest.raises(SourceError, match=r"no commit at HEAD and no branch$"):
        run(tmp_path, bare)


def test_a_bare_repository_gives_the_files_of_its_head(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", {"a.py": "x = 1\n", "ü.py": "y = 2\n"})
    git(tmp_path, "clone", "-q", "--bare", str(root), "bare.git")
    raw = run(tmp_path, tmp_path / "bare.git")
    assert set(documents(raw)) == {"a.py", "ü.py"}
    assert documents(raw)["a.py"]["source"] == "bare"


def test_repositories_below_a_folder_are_repositories_of_their_own(tmp_path: Path) -> None:
    repository(tmp_path / "src" / "one", {"a.py": "x = 1\n"})
    repository(tmp_path / "src" / "two", {"b.py": "y = 2\n"})
    write(tmp_path / "src", {"tool.py": "z = 3\n"})
    rows = documents(run(tmp_path, tmp_path / "src"))
    assert {p: r["repo"] for p, r in rows.items()} == {
        "tool.py": "src",
        "a.py": "src/one",
        "b.py": "src/two",
    }


def archive(path: Path, members: Mapping[str, bytes]) -> Path:
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path, "w:gz") as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
    else:
        with zipfile.ZipFile(path, "w") as zipped:
            for name, data in members.items():
                zipped.writestr(name, data)
    return path


@pytest.mark.parametrize("ending", [".tar.gz", ".zip", ".whl"])
def test_an_archive_is_read_without_its_top_folder(tmp_path: Path, ending: str) -> None:
    members = {"pkg-1.0/a.py": b"x = 1\n", "pkg-1.0/pkg/b.py": b"y = 2\n"}
    raw = run(tmp_path, archive(tmp_path / f"pkg-1.0{ending}", members))
    assert set(documents(raw)) == {"a.py", "pkg/b.py"}
    assert documents(raw)["a.py"]["source"] == "pkg-1.0"


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil.py", "a/../../evil.py"])
@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_a_member_that_leads_out_is_refused_by_name(tmp_path: Path, ending: str, name: str) -> None:
    path = archive(tmp_path / f"a{ending}", {"ok.py": b"x = 1\n", name: b"y = 2\n"})
    with pytest.raises(SourceError, match=r"evil\.py"):
        run(tmp_path, path)
    assert not (tmp_path / "raw").exists()


def test_a_link_out_of_an_archive_is_refused_and_an_inner_one_passed_over(tmp_path: Path) -> None:
    for target, name in (("a.py", "in.tar.gz"), ("../../etc/passwd", "out.tar.gz")):
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            info = tarfile.TarInfo("a.py")
            info.size = 6
            tar.addfile(info, BytesIO(b"x = 1\n"))
            link = tarfile.TarInfo("link.py")
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    assert dropped(run(tmp_path, tmp_path / "in.tar.gz")) == {"link.py": ("link", "not followed")}
    with pytest.raises(SourceError, match=r"link\.py"):
        run(tmp_path / "2", tmp_path / "out.tar.gz")


def test_the_rows_of_a_parquet_or_jsonl_corpus_become_documents(tmp_path: Path) -> None:
    rows = [
        {"content": "x = 1\n", "max_stars_repo_path": "a.py", "max_stars_repo_name": "o/r",
         "max_stars_repo_licenses": ["MIT", "ISC"]},
        {"content": "int x;\n", "max_stars_repo_path": "b.c", "max_stars_repo_name": "o/s",
         "max_stars_repo_licenses": ["my own"]},
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "stack.parquet")
    (tmp_path / "own.jsonl").write_text('{"text": "f()\\n", "path": "c.js", "license": "MIT"}\n')
    raw = documents(run(tmp_path, tmp_path / "stack.parquet", tmp_path / "own.jsonl"))
    found = {p: (r["source"], r["repo"], r["language"], r["license"]) for p, r in raw.items()}
    assert found == {
        "a.py": ("stack", "o/r", "python", "MIT AND ISC"),
        "b.c": ("stack", "o/s", "c", "unknown"),
        "c.js": ("own", "own", "javascript", "MIT"),
    }
    (tmp_path / "bad.jsonl").write_text('{"content": "x"\n')
    with pytest.raises(SourceError, match=r"bad\.jsonl line 1 is not valid JSON"):
        run(tmp_path / "2", tmp_path / "bad.jsonl")
    (tmp_path / "none.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(SourceError, match="none of 1 rows has text"):
        run(tmp_path / "3", tmp_path / "none.jsonl")


def test_a_refused_archive_can_be_counted_with_its_reason_instead(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.tar", tmp_path / "bad.tar"
    for path, target in ((good, ""), (bad, "../../etc/passwd")):
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("x/a.py")
            member.size = 6
            archive.addfile(member, BytesIO(b"x = 1\n"))
            if target:
                link = tarfile.TarInfo("x/link")
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)
    (tmp_path / "torn.zip").write_bytes(b"PK\3\4 and no more")
    sources = (good, bad, tmp_path / "torn.zip")
    with pytest.raises(SourceError, match="leads out of it"):
        run(tmp_path, *sources)
    made = run(tmp_path, *sources, skip_refused=True)
    refused = {row["repo"]: row["value"] for row in read_rows(made, "dropped")}
    assert list(documents(made)) == ["a.py"]
    assert refused == {
        "bad": "holds a link that leads out of it: 'x/link'; not read",
        "torn": "is damaged or no archive: File is not a zip file",
    }
    assert made.counts["dropped_by_rule"] == {"refused-archive": 2}


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    members = {f"{i}.py": os.urandom(1000) for i in range(50)}
    whole = archive(tmp_path / "a.tar.gz", members).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "not.zip").write_bytes(b"nothing of the kind")
    for name in ("cut.tar.gz", "not.zip"):
        with pytest.raises(SourceError, match=r"damaged or no archive"):
            run(tmp_path, tmp_path / name)


def test_a_missing_or_empty_source_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(SourceError, match="no file or folder at"):
        run(tmp_path, tmp_path / "missing")
    with pytest.raises(SourceError, match="holds no files"):
        run(tmp_path, tmp_path / "empty")
    with pytest.raises(SourceError, match="not a known kind of archive"):
        run(tmp_path, tmp_path / "file.txt")
    with pytest.raises(SourceError, match="no file in a known language"):
        run(tmp_path, write(tmp_path / "pictures", {"a.png": "x"}))


def test_a_setting_that_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigError, match="heldout_fraction"):
        CollectConfig(out_dir=Path("x"), heldout_fraction=1.5)


def test_the_tables_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    files = {f"p{i}/m{j}.py": f"x = {i}{j}\n" * 50 for i in range(6) for j in range(4)}
    root = write(tmp_path / "app", files)
    one = run(tmp_path / "1", root, shard_bytes=2000, workers=1)
    two = run(tmp_path / "2", root, shard_bytes=2000, workers=2)
    assert one.id == two.id
    assert [(f.name, f.sha256) for f in one.manifest.files] == [
        (f.name, f.sha256) for f in two.manifest.files
    ]
    assert len(one.files("documents-*.parquet")) > 2


def test_the_identity_follows_the_contents_of_the_source(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", {"a.py": "x = 1\n"})
    first = run(tmp_path, root)
    assert run(tmp_path, root).id == first.id
    write(root, {"a.py": "x = 2\n"})
    changed = run(tmp_path, root)
    assert changed.id != first.id
    assert documents(changed)["a.py"]["content"] == "x = 2\n"
    assert changed.manifest.inputs[0].kind == "source"


def test_two_sources_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one = write(tmp_path / "1" / "app", {"a.py": "x = 1\n"})
    two = write(tmp_path / "2" / "app", {"b.py": "y = 2\n"})
    rows = documents(run(tmp_path, one, two))
    assert {r["source"] for r in rows.values()} == {"app", "app-2"}


def test_an_error_of_a_source_is_a_users_mistake() -> None:
    assert issubclass(SourceError, CodlingError)


def test_a_document_that_would_not_fit_into_memory_is_a_mistake_of_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"up to 32,000,000 \(every stage keeps"):
        CollectConfig(out_dir=Path("x"), max_file_bytes=10**9)
