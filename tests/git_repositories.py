"""Small git repositories for tests, honest and hostile."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from codling.corpus.context import WorkingTree
from codling.corpus.sources.history import read_history
from codling.corpus.sources.open import open_sources
from codling.corpus.sources.repository import Archive

FILES = {"a.py": "x = 1\n", "pkg/b.py": "import a\n", "LICENSE": "MIT License\n"}
_NAMES = {"GIT_AUTHOR_NAME": "A", "GIT_COMMITTER_NAME": "A"}
_MAILS = {"GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_EMAIL": "a@example.org"}
_OTHERS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(root: Path, *arguments: str, data: bytes = b"") -> str:
    """What a command of git prints."""
    done = subprocess.run(
        ["git", "-C", root, *arguments],
        check=True,
        capture_output=True,
        input=data,
        env=os.environ | _NAMES | _MAILS | _OTHERS,
    )
    return done.stdout.decode().strip()


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def repository(root: Path, files: Mapping[str, str] = FILES, *options: str) -> Path:
    """A repository of one commit."""
    write(root, files)
    git(root, "init", "-q", "-b", "main", *options)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def history(root: Path, trees: Sequence[Mapping[str, str]], **messages: str) -> list[str]:
    """A repository with a commit per tree, by one process; the ids of the commits, oldest first.

    `messages` are those of single commits, by number: `_3="Revert ..."`; others read "change 3".
    """
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q", "-b", "main")
    parts: list[bytes] = []
    for number, tree in enumerate(trees):
        message = messages.get(f"_{number}", f"change {number}").encode()
        author = b"A <a@example.org> %d +0000" % (1_600_000_000 + 3600 * number)
        parts.append(b"commit refs/heads/main\nmark :%d\n" % (number + 1))
        parts.append(b"author %s\ncommitter %s\n" % (author, author))
        parts.append(b"data %d\n%s\ndeleteall\n" % (len(message), message))
        for name, content in tree.items():
            data = content.encode()
            parts.append(b"M 100644 inline %s\ndata %d\n" % (name.encode(), len(data)))
            parts.append(data + b"\n")
    git(root, "fast-import", "--quiet", data=b"".join(parts))
    git(root, "reset", "-q", "--hard")
    return git(root, "rev-list", "--reverse", "HEAD").split()


def read_all(*roots: Path) -> dict[str, str]:
    """Everything that codling reads of repositories; rule by path of the files of them all."""
    found: dict[str, str] = {}
    for root in roots:
        WorkingTree(root)
        for source in open_sources([root]):
            assert not isinstance(source, Archive)
            contents = source.reader.read([e for e in source.entries if not e.rule])
            rules = {e.path: e.rule for e in source.entries}
            found |= rules | {entry.path: entry.rule for entry, _ in contents}
            if source.history:
                read_history(Path(source.history))
    return found


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
