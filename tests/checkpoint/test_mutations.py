"""Every broken or odd checkpoint is right or one line, in bounded time and memory.

The tables are made and tried by mutations.py, in a process of its own whose memory is limited.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("mutations.py")


@pytest.mark.long
@pytest.mark.parametrize(("table", "least"), [("folder", 450), ("gguf", 300)])
def test_broken_and_odd_checkpoints_are_right_or_one_line(table: str, least: int) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, table], capture_output=True, text=True, check=False
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr[-2_000:]
    assert len(rows) >= least
    assert [row for row in rows if not row["ok"]] == []
    kinds = {row["kind"] for row in rows}
    assert {"right", "line"} <= kinds
    assert "panicked" not in done.stderr
