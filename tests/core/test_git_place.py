"""core/git_place and what is read there: honest repositories in every form, and misleading ones."""

import hashlib
import os
from pathlib import Path

import pytest

from codling.core.errors import SourceError
from codling.core.git_place import find_place
from codling.corpus.context import WorkingTree
from codling.corpus.sources.history import read_history
from codling.corpus.sources.open import open_sources
from codling.corpus.sources.repository import Archive
from git_repositories import FILES, git, read_all, repository, write


def test_replaced_objects_and_grafts_change_nothing(tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    blob = git(root, "rev-parse", "HEAD:a.py")
    other = git(root, "hash-object", "-w", "--stdin", data=b"stolen\n")
    git(root, "replace", blob, other)
    source = next(open_sources([root / ".git"]))
    assert not isinstance(source, Archive)
    contents = {e.path: data for e, data in source.reader.read(source.entries)}
    assert contents["a.py"] == b"x = 1\n"


def test_another_work_tree_that_the_configuration_names_is_not_read(tmp_path: Path) -> None:
    secret = write(tmp_path / "home", {"a.py": "secret = 1\n", "private.py": "p = 1\n"})
    root = repository(tmp_path / "app")
    git(root, "config", "core.worktree", str(secret))
    assert set(read_all(root)) == set(FILES)
    assert "private.py" not in set(WorkingTree(root))


def test_a_pointer_is_believed_only_where_the_other_side_agrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = repository(tmp_path / "private", {"secret_name.py": "s = 1\n"})
    root = write(tmp_path / "app", {"a.py": "x = 1\n", ".git": f"gitdir: {private}/.git\n"})
    assert "secret_name.py" not in read_all(root)
    assert "read as a plain folder" in capsys.readouterr().err
    forged = write(tmp_path / "forged", {"worktrees/x/gitdir": f"{root}/.git\n"})
    (forged / "worktrees/x/commondir").write_text(f"{private}/.git\n")
    (root / ".git").write_text(f"gitdir: {forged}/worktrees/x\n")
    assert "secret_name.py" not in read_all(root)


@pytest.mark.parametrize("name", ["objects", "refs", "HEAD", "index"])
def test_links_inside_a_repository_are_not_followed(name: str, tmp_path: Path) -> None:
    private = repository(tmp_path / "private", {"secret_name.py": "s = 1\n"})
    root = repository(tmp_path / "app")
    (root / ".git" / name).rename(tmp_path / "old")
    (root / ".git" / name).symlink_to(private / ".git" / name)
    assert "secret_name.py" not in read_all(root)


@pytest.mark.parametrize(
    "ref", ["../../../private/.git/HEAD", "refs/../../x", "refs/heads/\0", f"refs/{'x/' * 5000}"]
)
def test_a_head_that_leads_out_of_the_repository_names_no_commit(ref: str, tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    (root / ".git" / "HEAD").write_text(f"ref: {ref}\n")
    place = find_place(root)
    assert place is not None
    assert place.head() is None


def test_refs_that_name_each_other_end(tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    write(root / ".git" / "refs" / "heads", {"one": "ref: refs/heads/two\n"})
    write(root / ".git" / "refs" / "heads", {"two": "ref: refs/heads/one\n"})
    write(root / ".git", {"HEAD": "ref: refs/heads/one\n"})
    place = find_place(root)
    assert place is not None
    assert place.head() is None


def test_objects_that_are_borrowed_are_not_read_and_the_cure_is_named(tmp_path: Path) -> None:
    repository(tmp_path / "app")
    git(tmp_path, "clone", "-q", "--bare", "--shared", "app", "borrower.git")
    with pytest.raises(SourceError, match=r"borrows objects .* git repack -a -d"):
        list(open_sources([tmp_path / "borrower.git"]))
    git(tmp_path / "borrower.git", "repack", "-q", "-a", "-d")
    assert set(read_all(tmp_path / "borrower.git")) == set(FILES)


def test_missing_objects_are_one_line_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = repository(tmp_path / "origin")
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--bare", "--filter=blob:none", f"file://{origin}", "thin.git")
    found = read_all(tmp_path / "thin.git")
    assert found == dict.fromkeys(FILES, "unreadable")
    assert "lacks the contents of 3 of 3 files; clone it again" in capsys.readouterr().err
    git(tmp_path, "clone", "-q", "--bare", "--filter=tree:0", f"file://{origin}", "bare-bones.git")
    with pytest.raises(SourceError, match=r"lacks folders of its commit; clone it again"):
        read_all(tmp_path / "bare-bones.git")


def test_a_work_tree_is_read_though_its_objects_are_missing(tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    commit = git(root, "rev-parse", "HEAD")
    (root / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    assert read_all(root) == dict.fromkeys(FILES, "")
    assert read_history(root).is_broken


def fingerprints(root: Path) -> list[str]:
    return [source.fingerprint for source in open_sources([root])]


@pytest.mark.parametrize("kind", ["sha256", "packed", "linked", "bare", "split-index", "detached"])
def test_every_honest_form_of_a_repository_is_read(kind: str, tmp_path: Path) -> None:
    options = ["--object-format=sha256"] if kind == "sha256" else []
    root = repository(tmp_path / "app", FILES, *options)
    match kind:
        case "packed":
            git(root, "gc", "-q")
            git(root, "pack-refs", "--all")
            assert not (root / ".git/refs/heads/main").exists()
        case "linked":
            git(root, "worktree", "add", "-q", str(tmp_path / "linked"))
            root = tmp_path / "linked"
        case "bare":
            git(tmp_path, "clone", "-q", "--bare", str(root), "app.git")
            root = tmp_path / "app.git"
        case "split-index":
            git(root, "update-index", "--split-index")
        case "detached":
            git(root, "checkout", "-q", "--detach")
    assert read_all(root) == dict.fromkeys(FILES, "")
    assert fingerprints(root) == [git(root, "rev-parse", "HEAD")]
    assert set(read_history(root).times) == set(FILES)


def test_submodules_are_repositories_of_their_own(tmp_path: Path) -> None:
    inner = repository(tmp_path / "inner", {"i.py": "i = 1\n"})
    root = repository(tmp_path / "app")
    allow = ("-c", "protocol.file.allow=always")
    git(root, *allow, "submodule", "--quiet", "add", str(inner), "sub")
    git(root, "commit", "-q", "-m", "second")
    assert (root / "sub" / ".git").is_file()
    names = {source.name: source.fingerprint for source in open_sources([root])}
    assert names == {
        "app": git(root, "rev-parse", "HEAD"),
        "app/sub": git(inner, "rev-parse", "HEAD"),
    }
    assert {"i.py", "a.py"} <= read_all(root).keys()


def test_the_state_follows_the_contents_of_the_work_tree(tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    clean = fingerprints(root)
    os.utime(root / "a.py", (1, 1))
    (root / "a.py").chmod(0o755)
    assert fingerprints(root) == clean == [git(root, "rev-parse", "HEAD")]
    (root / "a.py").write_text("x = 2\n")
    changed = fingerprints(root)
    (root / "a.py").unlink()
    removed = fingerprints(root)
    (root / "a.py").symlink_to("LICENSE")
    assert len({*clean, *changed, *removed, *fingerprints(root)}) == 4
    inside = hashlib.sha256(b"pkg/").hexdigest()[:8]
    assert fingerprints(root / "pkg") == [f"{clean[0]}-{inside}"]


def test_a_folder_with_a_broken_git_folder_is_read_as_a_plain_one(tmp_path: Path) -> None:
    write(tmp_path / "folder", {"a.py": "a = 1\n", "x/.git/HEAD": "", "x/b.py": "b = 1\n"})
    found = read_all(tmp_path / "folder")
    assert {"a.py", "b.py"} <= found.keys()
    assert found[".git"] == "passed-over"


def test_a_linked_file_of_a_work_tree_that_leads_out_gives_no_text(tmp_path: Path) -> None:
    write(tmp_path, {"secret.py": "password = 1\n"})
    root = repository(tmp_path / "app")
    (root / "c.py").symlink_to(tmp_path / "secret.py")
    assert WorkingTree(root)["c.py"] == ""
