"""Kill -9 of a command at some moment of its work."""

import subprocess
import time
from pathlib import Path


def killed_at_work(command: list[str], run_dir: Path, seconds: float) -> bool:
    """Whether the process was killed so long after it began to write, before its end."""
    before = _newest(run_dir)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and _newest(run_dir) == before:
        time.sleep(0.005)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def _newest(folder: Path) -> tuple[int, int]:
    """The number of files and the time of the last one."""
    times = []
    for path in folder.rglob("*"):
        try:
            times.append(path.stat().st_mtime_ns)
        except FileNotFoundError:
            continue
    return len(times), max(times, default=0)
