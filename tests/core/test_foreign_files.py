"""core/foreign_files: what is no regular file is refused in one line, and never waited for."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from codling.cli import main
from codling.core.errors import ConfigError, SourceError
from codling.core.foreign_files import read_text


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe"),
        (Path.mkdir, "a folder"),
        (listen, "a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_a_text_comes_from_a_regular_file(
    make: Callable[[Path], None], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make(Path("x"))
    with pytest.raises(ConfigError, match=f"it is {kind}, not a regular file"):
        read_text(Path("x"), ConfigError)


def test_a_text_has_a_bound_and_an_encoding(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a\r\nb\n")
    assert read_text(path, max_bytes=5) == "a\nb\n"
    with pytest.raises(SourceError, match="more than 4 bytes"):
        read_text(path, max_bytes=4)
    path.write_bytes(b"\xff")
    with pytest.raises(SourceError, match="not UTF-8 text; convert it first"):
        read_text(path)


@pytest.mark.parametrize(
    "words",
    [
        ("data", "collect", ".", "--out-dir", "out", "--recipe", "pipe"),
        ("run-untrusted", "pipe"),
        ("serve", "--model", "x", "--api-key-file", "pipe"),
        ("insert", "--model", "x", "--file", "pipe"),
        ("complete", "--model", "pipe", "--prompt", "x"),
        ("data", "collect", "pipe", "--out-dir", "out"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_no_verb_waits_for_a_pipe(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
