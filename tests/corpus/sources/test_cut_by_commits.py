"""Where a history is cut in two, and a split that reads nothing of the later part."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codling.core.artifact import Artifact
from codling.core.errors import CodlingError, ConfigError
from codling.core.shards import read_rows
from codling.corpus.collect import collect
from codling.corpus.config import CollectConfig
from codling.corpus.sources.commits import open_blobs, open_commits
from git_repositories import git, history, repository

NOTICE = (Path(__file__).parents[3] / "LICENSE").read_text()


def trees(n: int) -> Iterator[dict[str, str]]:
    """`n` states of a small project: each adds a function to one of four files."""
    files = {"LICENSE": NOTICE, **{f"pkg/{name}.py": "" for name in "abcd"}}
    for number in range(n):
        files[f"pkg/{'abcd'[number % 4]}.py"] += f"def step_{number}(x):\n    return x + {number}\n"
        yield dict(files)


def run(tmp_path: Path, *sources: Path, **settings: Any) -> Artifact:
    values = {"out_dir": tmp_path / "raw", "workers": 1, "heldout_by": "commits"} | settings
    return collect(CollectConfig(sources=sources, **values))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project") / "app"
    history(root, list(trees(120)))
    return root


@pytest.mark.parametrize(("n", "n_later"), [(50, 25), (80, 40), (120, 50), (600, 60)])
def test_a_tenth_of_the_commits_comes_later_but_50_at_least_and_half_at_most(
    tmp_path: Path, n: int, n_later: int
) -> None:
    history(tmp_path / "app", [{"a.txt": str(i)} for i in range(n)])
    with open_commits(tmp_path / "app") as commits:
        cut = commits.cut()
    assert (cut.n_before, cut.n_later) == (n - n_later, n_later)


def test_later_commits_say_what_they_changed(project: Path) -> None:
    with open_commits(project) as commits:
        later = list(commits.later(commits.cut()))
        with open_blobs(commits.git, 10_000) as blobs:
            change = later[0].changes[0]
            old, new = blobs.read(change.old_id), blobs.read(change.new_id)
    assert len(later) == 50
    assert (later[0].subject, change.status, change.path) == ("change 119", "M", "pkg/d.py")
    assert old is not None
    assert new == old + b"def step_119(x):\n    return x + 119\n"


def test_what_a_side_branch_brings_after_the_cut_is_later_whatever_its_date(tmp_path: Path) -> None:
    root = tmp_path / "app"
    ids = history(root, [{"a.txt": str(i)} for i in range(100)])
    git(root, "checkout", "-q", "-b", "side", ids[10])
    (root / "b.txt").write_text("side\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "side", "--date=2001-01-01T00:00:00")
    git(root, "checkout", "-q", "main")
    git(root, "merge", "-q", "--no-ff", "-m", "merged", "side")
    with open_commits(root) as commits:
        cut = commits.cut()
        later = {c.subject for c in commits.later(cut)}
    assert (cut.n_later, cut.n_merges) == (50, 1)
    assert "side" in later
    assert "merged" not in later


def test_a_rename_is_known_as_one(tmp_path: Path) -> None:
    text = "".join(f"line {i}\n" for i in range(30))
    states = [{"old.py": text, "n.txt": str(i)} for i in range(59)]
    root = tmp_path / "app"
    history(root, [*states, {"new.py": text, "n.txt": "58"}])
    with open_commits(root) as commits:
        first = next(commits.later(commits.cut()))
    assert [(c.status, c.path) for c in first.changes] == [("R", "new.py")]


@pytest.mark.long
def test_collect_reads_the_tree_at_the_cut_and_says_which(project: Path, tmp_path: Path) -> None:
    made = run(tmp_path, project, heldout_fraction=0.0)
    texts = {row["path"]: row["content"] for row in read_rows(made, "documents")}
    assert "def step_69(x)" in texts["pkg/b.py"]
    assert not any("step_70" in text for text in texts.values())
    with open_commits(project) as commits:
        assert made.counts["learned_at"] == {"app": commits.cut().commit}


def test_the_cut_can_be_named_and_folders_of_a_repository_are_cut_with_it(
    project: Path, tmp_path: Path
) -> None:
    commit = git(project, "rev-parse", "HEAD~10")
    made = run(tmp_path, project / "pkg", at=commit[:12])
    rows = list(read_rows(made, "documents"))
    assert {row["path"] for row in rows} == {"a.py", "b.py", "c.py", "d.py"}
    assert sum(row["content"].count("def ") for row in rows) == 110
    assert made.counts["learned_at"] == {"pkg": commit}


def test_whole_packages_of_the_tree_are_kept_for_validation(tmp_path: Path) -> None:
    root = tmp_path / "app"
    packages = {f"p{i}/m.py": f"x = {i}\n" * 20 for i in range(10)}
    history(root, [{"LICENSE": NOTICE, "n.txt": str(i), **packages} for i in range(60)])
    made = run(tmp_path, root, heldout_fraction=0.2)
    splits = {row["path"]: row["split"] for row in read_rows(made, "documents")}
    assert sum(split == "heldout" for split in splits.values()) == 2


def bare(tmp_path: Path) -> Path:
    return repository(tmp_path / "few")


def shallow(tmp_path: Path) -> Path:
    history(tmp_path / "app", list(trees(60)))
    git(tmp_path, "clone", "-q", "--depth=55", f"file://{tmp_path}/app", "thin")
    return tmp_path / "thin"


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (bare, {}, "has 1 commits, too few"),
        (shallow, {}, "shallow clone"),
        (bare, {"at": "abcdef12"}, "names no commit"),
        (bare, {"at": "--output=x"}, "names no commit"),
    ],
)
def test_what_cannot_be_cut_is_one_line(
    tmp_path: Path, make: object, settings: dict[str, str], said: str
) -> None:
    source = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(CodlingError, match=said) as caught:
        run(tmp_path, source, **settings)
    assert "\n" not in str(caught.value)


def test_the_newest_commit_leaves_nothing_to_ask(project: Path, tmp_path: Path) -> None:
    with pytest.raises(CodlingError, match="none comes later"):
        run(tmp_path, project, at=git(project, "rev-parse", "HEAD"))


def test_at_needs_the_split_by_commits(project: Path) -> None:
    with pytest.raises(ConfigError, match="needs heldout_by commits"):
        CollectConfig(sources=(project,), out_dir=project, at="abcd1234")


def test_a_blob_larger_than_the_limit_is_not_read(project: Path) -> None:
    with open_commits(project) as commits, open_blobs(commits.git, 5) as blobs:
        change = next(commits.later(commits.cut())).changes[0]
        assert blobs.read(change.new_id) is None
        assert blobs.read("0" * 40) is None
