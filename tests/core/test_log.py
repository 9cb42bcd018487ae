import errno
import os
from pathlib import Path

import pytest

from codling.core.errors import from_os_error
from codling.core.files import read_json_lines
from codling.core.log import Bar, MetricsLog


def test_on_resume_the_rows_of_repeated_steps_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in range(4):
        log.write(step=step, loss=1.0 / (step + 1))
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    MetricsLog(path, keep_below_step=2).write(step=2, loss=9.0)
    assert [r["loss"] for r in read_json_lines(path)] == [1.0, 0.5, 9.0]


def test_the_rows_that_are_kept_keep_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    MetricsLog(path).write(step=0, text="caf\u00e9 \ufffd")
    before = path.read_bytes()
    MetricsLog(path, keep_below_step=1)
    assert path.read_bytes() == before


def test_a_bar_counts_from_where_an_earlier_run_stopped() -> None:
    with Bar("work", 10, done=4) as bar:
        bar.advance(6)
    assert bar.done == 10
    assert bar.seconds_left == 0


@pytest.mark.parametrize(("rank", "n_lines"), [("0", 1), ("1", 0)])
def test_of_several_processes_the_first_shows_the_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, n_lines: int
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("codling.core.log._PLAIN_SECONDS", -1.0)
    with Bar("work", 2) as bar:
        bar.advance(1)
    assert capsys.readouterr().err.count("work: 1/2") == n_lines


def test_a_full_disk_is_one_line_with_the_cure() -> None:
    error = from_os_error(OSError(28, "No space left on device", "/x"))
    assert "disk is full: /x; free some space" in str(error)
    assert from_os_error(OSError(5, "Input/output error")) is None


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP])
def test_a_path_that_cannot_be_followed_is_one_short_line(number: int) -> None:
    said = str(from_os_error(OSError(number, os.strerror(number), "d/" * 2_500)))
    assert said.startswith(os.strerror(number))
    assert len(said) < 300
