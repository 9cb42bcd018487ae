"""The verb `run-untrusted` takes the language from the file."""

import shutil

import pytest

from codling import cli
from codling.core.errors import ConfigError, SourceError
from codling.sandbox import run_untrusted
from codling.sandbox.untrusted import UntrustedConfig, language_of


def test_a_name_or_else_the_first_line_says_the_language():
    assert language_of("a.sh", "#!/usr/bin/python3\n") == "sh"
    assert language_of("a.R", "") == "r"
    assert language_of("setup", "#!/usr/bin/env -S python3.11 -u\n") == "python"
    assert language_of("setup", "#! /bin/bash\n") == "sh"
    with pytest.raises(ConfigError, match="give --language, one of cpp, cs"):
        language_of("notes.txt", "hello")


def test_a_shell_file_runs_as_shell(tmp_path):
    if shutil.which("bwrap") is None or shutil.which("bc") is None:
        pytest.skip("needs bubblewrap and bc")
    path = tmp_path / "hello.sh"
    path.write_text('echo "hello from $((6 * 7)), $0"\n')
    assert run_untrusted(UntrustedConfig(file=path)).text.startswith(
        "hello from 42, main.sh\npassed"
    )
    path.write_text("echo no >&2; exit 3\n")
    assert "no\nfailed after" in run_untrusted(UntrustedConfig(file=path)).text


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("sleep 30", 124),
    ],
)
def test_a_pipeline_sees_the_programs_own_exit_status(tmp_path, source, status, capfd):
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap")
    path = tmp_path / "a.sh"
    path.write_text(source + "\n")
    with pytest.raises(SystemExit) as ended:
        cli.main(["run-untrusted", str(path), "--seconds", "2"])
    assert ended.value.code == status
    assert " after " in capfd.readouterr().out


def test_what_is_no_text_is_one_line(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="is not UTF-8 text"):
        run_untrusted(UntrustedConfig(file=path))
