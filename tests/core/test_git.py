"""core/git: one way to call git, in which nothing that a repository says takes effect."""

import ast
import hashlib
import os
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from codling.core import git as core_git
from codling.core import git_place, provenance
from codling.core.errors import SourceError
from codling.core.git import open_git
from codling.core.git_place import find_place
from codling.corpus.sources.open import open_sources
from git_repositories import FILES, git, read_all, repository, within, write

SOURCE = Path(git_place.__file__).parents[1]

# Each attack is told the repository and the command of a program that leaves a marker.
Attack = Callable[[Path, str], None]


def _config(root: Path, **settings: str) -> None:
    for name, value in settings.items():
        git(root, "config", name.replace("__", "."), value)


def fsmonitor(root: Path, program: str) -> None:
    _config(root, core__fsmonitor=program)


def fsmonitor_in_an_included_file(root: Path, program: str) -> None:
    (root / ".git" / "more").write_text(f"[core]\n\tfsmonitor = {program}\n")
    _config(root, include__path="more")


def fsmonitor_in_a_file_included_by_its_place(root: Path, program: str) -> None:
    (root / ".git" / "more").write_text(f"[core]\n\tfsmonitor = {program}\n")
    git(root, "config", f"includeIf.gitdir:{root}/.path", "more")


def fsmonitor_of_the_work_tree(root: Path, program: str) -> None:
    _config(root, extensions__worktreeConfig="true")
    git(root, "config", "--worktree", "core.fsmonitor", program)


def fsmonitor_of_a_submodule(root: Path, program: str) -> None:
    inner = repository(root / "sub", {"s.py": "z = 1\n"})
    git(root, "add", "sub")
    git(root, "commit", "-q", "-m", "second")
    fsmonitor(inner, program)
    (inner / "s.py").write_text("z = 2\n")


def clean_filter_in_info(root: Path, program: str) -> None:
    (root / ".git" / "info" / "attributes").write_text("* filter=x\n")
    _config(root, filter__x__clean=program, filter__x__smudge=program)


def clean_filter_in_the_tree(root: Path, program: str) -> None:
    write(root, {".gitattributes": "* filter=x\n"})
    _config(root, filter__x__clean=program, filter__x__required="true")


def filter_process(root: Path, program: str) -> None:
    write(root, {".gitattributes": "* filter=x\n"})
    _config(root, filter__x__process=program)


def external_diff(root: Path, program: str) -> None:
    write(root, {".gitattributes": "* diff=x\n"})
    _config(root, diff__external=program, diff__x__command=program, diff__x__textconv=program)


def pager_and_hooks(root: Path, program: str) -> None:
    _config(root, core__pager=program, core__editor=program, core__hooksPath=str(root / "hooks"))
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        for folder in (root / "hooks", root / ".git" / "hooks"):
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(f"#!/bin/sh\n{program}\n")
            (folder / name).chmod(0o755)


def signature_check(root: Path, program: str) -> None:
    signed = git(root, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----\n\n", 1
    )
    made = git(root, "hash-object", "-t", "commit", "-w", "--stdin", data=signed.encode())
    git(root, "update-ref", "refs/heads/main", made)
    _config(root, log__showSignature="true", gpg__program=program)


def a_missing_blob_over_ssh(root: Path, program: str) -> None:
    _lose_a_blob(root)
    _config(root, core__sshCommand=program, remote__origin__url="ssh://example.invalid/x")


def a_missing_blob_over_ext(root: Path, program: str) -> None:
    _lose_a_blob(root)
    _config(root, protocol__ext__allow="always", remote__origin__url=f"ext::{program}")


def a_missing_blob_from_a_program(root: Path, program: str) -> None:
    _lose_a_blob(root)
    _config(root, remote__origin__uploadpack=program, remote__origin__url=str(root))


def a_missing_blob_with_credentials(root: Path, program: str) -> None:
    _lose_a_blob(root)
    _config(root, credential__helper=f"!{program}", core__askPass=program)
    _config(root, remote__origin__url="http://localhost:9/x", core__gitProxy=program)


def _lose_a_blob(root: Path) -> None:
    blob = git(root, "rev-parse", "HEAD:a.py")
    (root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    _config(root, core__repositoryformatversion="1", extensions__partialClone="origin")
    _config(root, remote__origin__promisor="true")


ATTACKS: list[Attack] = [
    fsmonitor,
    fsmonitor_in_an_included_file,
    fsmonitor_in_a_file_included_by_its_place,
    fsmonitor_of_the_work_tree,
    fsmonitor_of_a_submodule,
    clean_filter_in_info,
    clean_filter_in_the_tree,
    filter_process,
    external_diff,
    pager_and_hooks,
    signature_check,
    a_missing_blob_over_ssh,
    a_missing_blob_over_ext,
    a_missing_blob_from_a_program,
    a_missing_blob_with_credentials,
]


def marking(tmp_path: Path) -> tuple[str, Path]:
    """(a program that leaves a marker, the marker)."""
    marker, program = tmp_path / "it-ran", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    return str(program), marker


@pytest.mark.long
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.__name__)
def test_no_program_that_a_repository_names_is_run(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, marker = marking(tmp_path)
    outer = tmp_path / "folder"
    root = repository(outer / "x" / "app")
    attack(root, program)
    write(root, {"pkg/b.py": "import b\n", "new.py": "y = 1\n"})  # of the same size as before
    git_dir = root / ".git"
    monkeypatch.setattr(provenance, "__file__", str(root / "pkg" / "core.py"))
    provenance.code_version()
    found = read_all(root, outer, root / "pkg", git_dir)
    assert not marker.exists()
    assert {"a.py", "pkg/b.py"} <= found.keys()


def test_what_the_users_environment_says_to_git_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, marker = marking(tmp_path)
    root = repository(tmp_path / "app")
    write(root, {"a.py": "x = 2\n"})
    other = repository(tmp_path / "other", {"z.py": "z = 1\n"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", program)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", program)
    assert set(read_all(root)) == set(FILES)
    assert not marker.exists()


def test_git_is_not_looked_for_in_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "app")
    _, marker = marking(root)
    (root / "program").rename(root / "git")
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")
    assert "a.py" in read_all(root)
    assert not marker.exists()


PIPES = [
    ".git/config",
    ".git/more",
    ".git/info/attributes",
    ".git/info/exclude",
    ".git/info/grafts",
    ".git/packed-refs",
    ".git/shallow",
    ".git/commondir",
    ".git/index",
    ".git/HEAD",
    ".git/refs/heads/main",
    ".git/objects/info/alternates",
    ".git/objects/info/commit-graph",
    ".git/objects/pack/multi-pack-index",
    ".git/objects/pack/pack-0000000000000000000000000000000000000000.idx",
    ".gitattributes",
    ".gitignore",
    ".mailmap",
]


@pytest.mark.long
@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_git, "WALK_SECONDS", 0.5)
    root = repository(tmp_path / "app")
    _config(root, include__path="more")
    write(root, {"a.py": "x = 2\n"})
    (root / name).unlink(missing_ok=True)
    os.mkfifo(root / name)
    with within(600):
        assert {"a.py", "pkg/b.py"} <= read_all(root, root / "pkg").keys()


def test_a_pipe_among_the_objects_is_a_missing_object(tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    blob = git(root, "rev-parse", "HEAD:a.py")
    path = root / ".git" / "objects" / blob[:2] / blob[2:]
    path.unlink()
    os.mkfifo(path)
    with within(600):
        assert read_all(root / ".git")["a.py"] == "unreadable"


def test_a_command_that_takes_too_long_is_ended_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = write(tmp_path, {"bin/git": "#!/bin/sh\nexec sleep 60\n"}) / "bin" / "git"
    slow.chmod(0o755)
    place = find_place(repository(tmp_path / "app"))
    assert place is not None
    monkeypatch.setenv("PATH", str(slow.parent) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(core_git, "LIMIT_SECONDS", 0.2)
    with within(600), open_git(place) as opened, pytest.raises(SourceError, match="too long"):
        opened.run("ls-files")
    with (
        within(600),
        open_git(place) as opened,
        opened.stream("cat-file", "--batch") as stream,
        pytest.raises(SourceError, match="too long"),
    ):
        stream.line()


def test_a_commit_that_names_a_billion_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "app")
    tree = git(root, "rev-parse", "HEAD^{tree}")
    for _ in range(9):
        names = "".join(f"040000 tree {tree}\tt{i}\n" for i in range(10))
        tree = git(root, "mktree", data=names.encode())
    commit = git(root, "commit-tree", "-m", "bomb", tree)
    git(root, "update-ref", "refs/heads/main", commit)
    monkeypatch.setattr(core_git, "OUTPUT_BYTES", 1_000_000)
    with within(600), pytest.raises(SourceError, match="too many files"):
        list(open_sources([root / ".git"]))


def test_a_commit_whose_folders_name_each_other_without_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "app")
    tree = git(root, "mktree", data=b"")
    for _ in range(9):
        names = "".join(f"040000 tree {tree}\tt{i}\n" for i in range(10))
        tree = git(root, "mktree", data=names.encode())
    commit = git(root, "commit-tree", "-m", "bomb", tree)
    git(root, "update-ref", "refs/heads/main", commit)
    monkeypatch.setattr(core_git, "LISTING_SECONDS", 1)
    with within(600), pytest.raises(SourceError, match="too many folders"):
        list(open_sources([root / ".git"]))


def _loose(root: Path, kind: str, stated: int, data: bytes) -> str:
    raw = f"{kind} {stated}\0".encode() + data
    made = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    path = root / ".git" / "objects" / made[:2] / made[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(raw, 1))
    return made


@pytest.mark.long
@pytest.mark.parametrize("filling", [b"x", b"x\n", b"\n", b"\0"])
def test_an_object_that_holds_more_than_it_says_is_refused_at_once(
    tmp_path: Path, filling: bytes
) -> None:
    root = repository(tmp_path / "app")
    lying = _loose(root, "blob", 1000, filling * (50_000_000 // len(filling)))
    git(root, "update-index", "--add", "--cacheinfo", f"100644,{lying},lie.py")
    tree = git(root, "write-tree", "--missing-ok")
    git(root, "update-ref", "refs/heads/main", git(root, "commit-tree", "-m", "lie", tree))
    before = time.process_time()
    with pytest.raises(SourceError, match="is damaged; check it with git fsck"):
        read_all(root / ".git")
    assert time.process_time() - before < 5


@pytest.mark.long
def test_a_long_commit_message_is_read_in_time_that_grows_with_it(tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    tree = git(root, "rev-parse", "HEAD^{tree}")
    made = git(root, "commit-tree", tree, data=b"y" * 100_000_000)
    git(root, "update-ref", "refs/heads/main", made)
    before = time.process_time()
    with (
        open_git(_found(root)) as opened,
        opened.stream("log", "-z", "--format=%B", made) as stream,
    ):
        assert [len(part.strip()) for part in stream.parts()] == [100_000_000]
    assert time.process_time() - before < 3  # joining block by block copies 80 GB


def test_parts_are_what_stands_between_nuls(tmp_path: Path) -> None:
    root = repository(tmp_path / "app")
    with open_git(_found(root)) as opened, opened.stream("ls-files", "-z") as stream:
        assert list(stream.parts()) == [b"LICENSE", b"a.py", b"pkg/b.py"]


def _found(root: Path) -> git_place.GitPlace:
    place = find_place(root)
    assert place is not None
    return place


@pytest.mark.long
def test_no_other_module_starts_git() -> None:
    offenders = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if path.name != "git.py" or path.parent.name != "core"
        if _starts_git(path.read_text())
    ]
    assert offenders == []
    assert _starts_git('subprocess.run(["git", "-C", x])')
    assert _starts_git('command = ("/usr/bin/git", "log")')
    assert _starts_git('os.system(f"git -C {x} log")')
    assert _starts_git("import pygit2")
    assert not _starts_git('raise SourceError("git is missing")')


def _starts_git(text: str) -> bool:
    """Whether a module holds the command line of git, or a library in its place."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]):
                is_git = _is_git(first)
            case ast.Call(func=ast.Attribute(attr=name), args=[first, *_]):
                is_git = name in _STARTERS and _is_git(first)
            case ast.Import(names=names):
                is_git = any(re.match("(git|pygit2|dulwich)$", each.name) for each in names)
            case ast.ImportFrom(module=module):
                is_git = bool(re.match(r"(git|pygit2|dulwich)(\.|$)", module or ""))
            case _:
                is_git = False
        if is_git:
            return True
    return False


_STARTERS = {"run", "Popen", "system", "popen", "check_output", "check_call", "call", "which"} | {
    "execv", "execvp", "execl", "execlp", "spawnv", "create_subprocess_exec", "getoutput"
}  # fmt: skip


def _is_git(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, str) and re.match(r"(\S*/)?git(\s|$)", value) is not None
