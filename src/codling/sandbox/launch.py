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

from codling.sandbox.cgroup import Group

_JOIN = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do '
    'echo $$ > "$1/cgroup.procs" || exit 1; shift; n=$((n-1)); done; exec "$@"'
)
"""A shell joins the control groups and becomes the program: nothing runs outside them, not even
at first."""


def launch(
    argv: Sequence[str],
    *,
    fds: Sequence[int] = (),
    env: Mapping[str, str],
    group: Group | None = None,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start `argv` with pipes on stdin, stdout and (unless told otherwise) stderr, and close our
    side of `fds`."""
    if group is not None:
        folders = [str(folder) for folder in group.folders]
        argv = ["/bin/sh", "-c", _JOIN, "sh", str(len(folders)), *folders, *argv]

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
