"""corpus/sources/history: files of a repository have the time of the commit that made them."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from codling.core.artifact import Artifact
from codling.core.errors import ConfigError
from codling.core.shards import read_rows
from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import CleanConfig, CollectConfig
from codling.corpus.sources.history import read_history

DAY = 86_400
START = 1_700_000_000
"""14 November 2023, 22:13:20 UTC."""


def git(root: Path, *arguments: str, day: int = 0) -> None:
    when = f"{START + day * DAY} +0000"
    names = {"GIT_AUTHOR_NAME": "A", "GIT_COMMITTER_NAME": "A"}
    mails = {"GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_EMAIL": "a@example.org"}
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    subprocess.run(
        ["git", "-C", root, *arguments],
        check=True,
        capture_output=True,
        env=os.environ | names | mails | dates,
    )


def commit(root: Path, day: int, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", f"day {day}", day=day)


def grown(root: Path) -> Path:
    """Ten packages, one of them new each day; the first file is changed on the last day."""
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    for day in range(10):
        text = f"number = 'day {day}'\n" * 20
        commit(root, day, {f"p{day}/a.py": text, f"p{day}/b.py": text + "y = 1\n"})
    commit(root, 10, {"p0/a.py": "number = 'new'\n" * 20})
    return root


def days(root: Path) -> dict[str, int]:
    return {path: (second - START) // DAY for path, second in read_history(root).times.items()}


def run(tmp_path: Path, *sources: Path, **settings: Any) -> Artifact:
    values = {"out_dir": tmp_path / "raw", "workers": 1} | settings
    return collect(CollectConfig(sources=sources, **values))  # type: ignore[arg-type]


def heldout(artifact: Artifact) -> set[str]:
    rows = read_rows(artifact, "documents")
    return {row["path"] for row in rows if row["split"] == "heldout"}


def test_a_file_has_the_time_of_its_last_change(tmp_path: Path) -> None:
    found = days(grown(tmp_path / "app"))
    assert found["p3/a.py"] == found["p3/b.py"] == 3
    assert (found["p0/a.py"], found["p0/b.py"]) == (10, 0)
    assert len(found) == 20


@pytest.mark.long
def test_a_folder_inside_and_a_bare_clone_have_the_same_times(tmp_path: Path) -> None:
    root = grown(tmp_path / "app")
    assert days(root / "p0") == {"a.py": 10, "b.py": 0}
    git(tmp_path, "clone", "-q", "--bare", str(root), "bare.git")
    assert days(tmp_path / "bare.git") == days(root)
    raw = run(tmp_path, tmp_path / "bare.git")
    times = {row["path"]: row["changed_at"] for row in read_rows(raw, "documents")}
    assert times["p4/a.py"] == START + 4 * DAY


@pytest.mark.long
def test_a_change_on_a_branch_keeps_its_time_and_a_merge_dates_only_its_own(tmp_path: Path) -> None:
    root = tmp_path / "app"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, 0, {"a.py": "a\n", "b.py": "b\n", "c.py": "c\n", "d.py": "d\n"})
    git(root, "checkout", "-q", "-b", "side")
    commit(root, 1, {"a.py": "side\n", "c.py": "side\n"})
    git(root, "checkout", "-q", "main")
    commit(root, 2, {"b.py": "main\n", "c.py": "main\n"})
    git(root, "merge", "-q", "--no-commit", "-s", "ours", "side", day=3)
    commit(root, 3, {"a.py": "side\n", "c.py": "both\n"})
    assert days(root) == {"a.py": 1, "b.py": 2, "c.py": 3, "d.py": 0}


def test_a_change_that_a_merge_threw_away_does_not_date_a_file(tmp_path: Path) -> None:
    root = tmp_path / "app"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, 0, {"a.py": "a\n"})
    git(root, "checkout", "-q", "-b", "side")
    commit(root, 5, {"a.py": "side\n"})
    git(root, "checkout", "-q", "main")
    commit(root, 2, {"b.py": "b\n"})
    git(root, "merge", "-q", "-s", "ours", "-m", "x", "side", day=6)
    assert days(root) == {"a.py": 0, "b.py": 2}


def test_a_moved_file_and_one_of_an_odd_name_are_dated(tmp_path: Path) -> None:
    root = tmp_path / "app"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, 0, {"old.py": "x\n", ":1 \x01ü\n.py": "y\n"})
    git(root, "mv", "old.py", "new.py")
    git(root, "commit", "-q", "-m", "x", day=4)
    assert days(root) == {"new.py": 4, ":1 \x01ü\n.py": 0}


def test_a_shallow_clone_dates_what_changed_since_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = grown(tmp_path / "app")
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{root}", "short")
    assert days(tmp_path / "short") == {"p0/a.py": 10}
    raw = run(tmp_path, tmp_path / "short")
    assert "short is a shallow clone: 19 of 20 files have no commit time" in capsys.readouterr().err
    git(tmp_path / "short", "fetch", "-q", "--unshallow")
    assert len(days(tmp_path / "short")) == 20
    assert run(tmp_path, tmp_path / "short").id != raw.id


@pytest.mark.long
def test_what_is_no_repository_has_no_times(tmp_path: Path) -> None:
    root = grown(tmp_path / "app")
    (root / "p0" / "new.py").write_text("z = 1\n" * 20)
    git(root, "add", "-A")
    rows = {r["path"]: r["changed_at"] for r in read_rows(run(tmp_path, root), "documents")}
    assert rows["p0/new.py"] is None
    assert rows["p0/b.py"] == START
    shutil.rmtree(root / ".git")
    rows = {r["path"]: r["changed_at"] for r in read_rows(run(tmp_path / "2", root), "documents")}
    assert set(rows.values()) == {None}
    without = run(tmp_path / "3", grown(tmp_path / "x"), commit_times=False)
    assert {r["changed_at"] for r in read_rows(without, "documents")} == {None}


def test_the_newest_files_are_held_out(tmp_path: Path) -> None:
    root = grown(tmp_path / "app")
    newest = run(tmp_path, root, heldout_by="file-time", heldout_fraction=0.15)
    assert heldout(newest) == {"p0/a.py", "p9/a.py", "p9/b.py"}
    assert newest.counts["heldout_since"] == "2023-11-23T22:13:20+00:00"
    since = run(tmp_path / "2", root, heldout_by="file-time", heldout_since="2023-11-23")
    assert heldout(since) == {"p0/a.py", "p9/a.py", "p9/b.py"}


def test_the_newest_repositories_are_held_out_whole(tmp_path: Path) -> None:
    for i in range(10):
        root = tmp_path / "src" / f"r{i}"
        root.mkdir(parents=True)
        git(root, "init", "-q", "-b", "main")
        commit(root, 0, {"a.py": "x = 1\n" * 10})
        commit(root, i + 1, {"b.py": f"x = {i}\n" * 10})
    raw = run(tmp_path, tmp_path / "src", heldout_by="repository-time", heldout_fraction=0.1)
    rows = list(read_rows(raw, "documents"))
    assert {r["repo"] for r in rows if r["split"] == "heldout"} == {"src/r9"}
    assert {r["path"] for r in rows if r["split"] == "heldout"} == {"a.py", "b.py"}


def test_the_split_by_time_survives_the_cleaning_of_own_code(tmp_path: Path) -> None:
    root = grown(tmp_path / "app")
    raw = run(tmp_path, root, own=True, heldout_by="file-time", heldout_fraction=0.15)
    made = clean(CleanConfig(raw_dir=raw.path, out_dir=tmp_path / "documents", workers=1))
    rows = {row["path"]: row for row in read_rows(made, "documents")}
    assert rows["p9/a.py"]["split"] == "heldout"
    assert rows["p3/a.py"]["changed_at"] == START + 3 * DAY


def test_a_split_by_time_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="needs a git repository with history"):
        run(tmp_path, tmp_path / "plain", heldout_by="file-time")
    root = tmp_path / "one"
    root.mkdir()
    git(root, "init", "-q")
    commit(root, 0, {"a.py": "x = 1\n", "b.py": "y = 1\n"})
    with pytest.raises(ConfigError, match="newest commit alone dates 100% of the code"):
        run(tmp_path, root, heldout_by="file-time")
    with pytest.raises(ConfigError, match="write it like 2025-06-30"):
        run(tmp_path, root, heldout_by="file-time", heldout_since="soon")
    with pytest.raises(ConfigError, match="heldout_since needs heldout_by"):
        run(tmp_path, root, heldout_since="2025-06-30")
    with pytest.raises(ConfigError, match="needs commit_times"):
        run(tmp_path, root, heldout_by="file-time", commit_times=False)


def test_a_commit_without_a_time_leaves_its_files_without_one(tmp_path: Path) -> None:
    root = tmp_path / "app"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, 0, {"a.py": "x = 1\n"})
    shown = subprocess.run(
        ["git", "-C", root, "cat-file", "commit", "HEAD"], check=True, capture_output=True
    ).stdout
    head, _, rest = shown.partition(b"committer ")
    broken = head + b"committer A <a@example.org>\n" + rest.partition(b"\n")[2]
    made = subprocess.run(
        ["git", "-C", root, "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
        check=True,
        capture_output=True,
        input=broken,
    ).stdout.decode()
    (root / ".git" / "refs" / "heads" / "main").write_text(made)
    history = read_history(root)
    assert (history.times, history.n_files) == ({}, 1)
