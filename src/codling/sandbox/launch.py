"""Starts long-lived processes so that they live as long as this process, not as the calling thread.

`bwrap --die-with-parent` asks the kernel for a signal when its parent ends, and to the kernel the
parent is the thread that started it. So one thread, which stays, starts them all.

Not here: the command lines (bubblewrap.py).
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def launch(
    argv: Sequence[str],
    *,
    fds: Sequence[int] = (),
    env: Mapping[str, str],
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start `argv` with pipes on stdin, stdout and (unless told otherwise) stderr, and close our
    side of `fds`."""

    def start() -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=stderr, pass_fds=fds, env=env, bufsize=0
        )

    try:
        return _starter().submit(start).result()
    finally:
        for fd in fds:
            os.close(fd)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and close its pipes."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


@cache
def _starter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="codling-launch")
