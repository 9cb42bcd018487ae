"""What benchmarks beside a peer share: both kinds of seconds, what was measured with, busy
neighbours, llama.cpp, JSON lines.

Not here: what is measured (train.py, adapt.py).
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_COUNT = """import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000): pass"""
Seconds = tuple[float, float]
"""By the clock, and of processor time: the second kind stands a busy machine."""


def now() -> Seconds:
    """By the clock, and of this process's work on all processors."""
    return time.monotonic(), time.process_time()


def since(start: Seconds, end: Seconds) -> Seconds:
    """The seconds between, of both kinds."""
    return end[0] - start[0], end[1] - start[1]


def clock_members() -> Seconds:
    """By the clock, and of the work of this process and its children that are alive."""
    return time.monotonic(), processor_seconds(os.getpid())


def refuse_starved(folder: Path) -> None:
    """End the benchmark if the training in `folder` waited for batches more than is normal: its
    figure would be of the batches."""
    from codling.train.rates import MAX_WAITING_SHARE

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    shares = [json.loads(line)["waiting_share"] for line in lines]
    share = sum(shares) / len(shares)
    if share > MAX_WAITING_SHARE:
        sys.exit(
            f"training waited {share:.1%} of its time for batches; the figure is worth nothing"
        )


def processor_seconds(process: int) -> float:
    """Of a process and its children that are alive."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return own + sum(processor_seconds(int(each)) for each in children)


@contextmanager
def busy_processes(n: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """So many neighbours that do nothing but count; they end with this process, even if it is
    killed."""
    command = [sys.executable, "-c", _COUNT, str(os.getpid())]
    neighbours = [subprocess.Popen(command) for _ in range(n)]
    try:
        yield neighbours
    finally:
        for each in neighbours:
            each.kill()
            each.wait()


def open_llama(file: Path, length: int) -> Any:  # noqa: ANN401 -- llama_cpp is of the extra `peers`
    """llama.cpp with a context of so many tokens and as many threads as torch has."""
    import llama_cpp
    import torch

    threads = torch.get_num_threads()
    return llama_cpp.Llama(
        str(file), n_ctx=length, n_threads=threads, n_threads_batch=threads, verbose=False
    )


def versions() -> dict[str, str]:
    """The versions of what is compared."""
    from importlib.metadata import version

    return {name: version(name) for name in ("codling", "torch", "transformers")}


def cpu_name() -> str:
    """How many cores of which processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def report(**values: object) -> None:
    """One JSON line."""
    print(json.dumps(values), flush=True)
