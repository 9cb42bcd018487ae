"""The fork server inside the sandbox: reads jobs, runs each in a fresh cell, writes what happened.

Input and output: frames on descriptors 0 and 1, each a four-byte length and JSON. It stays the
parent of everything: a warm interpreter with common modules loaded, forked once per job (2 to 3
ms instead of a start). Not here: the cell (cell.py), the other end of the pipe (../box.py).
"""

import gc
import importlib
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from contextlib import suppress
from typing import Any

from . import cell, linux, program

WARM = (
    "abc", "bisect", "collections", "copy", "datetime", "functools", "heapq", "itertools",
    "json", "math", "operator", "random", "re", "string", "traceback", "typing",
)  # fmt: skip
"""Loaded before the first job. Every additional module makes every fork slower; others load when
needed."""
_EXERCISE = "import math\ndef f(a):\n    return [i for i in a]\nassert f([1]) == [1]"
_HAS_HAD_A_THREAD = """
import _thread
ended = _thread.allocate_lock()
ended.acquire()
_thread.start_new_thread(ended.release, ())
ended.acquire()
"""
_GRACE = 5.0
"""Seconds beyond a job's own limits after which its keeper is killed."""


def main(options: dict[str, Any]) -> None:
    """Serve jobs until the pipe closes. Options: isolated, user, preload, path, shown."""
    isolated = bool(options["isolated"])
    requests, replies = os.dup(0), os.dup(1)
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.dup2(2, 1)  # a pipe, as it will be in the children: streams remember what they are on
    program.open_streams()
    if isolated:
        linux.leave_root(options["user"])
    linux.die_with_parent()
    linux.block_signals()
    if isolated:
        linux.unshare(
            linux.NEW_MOUNTS
        )  # if it is refused here it is refused everywhere: fail at the start
        linux.keep_from_children()
    cell.keep_in_sight(options["shown"])
    sys.path[:] = [*sys.path[1:], *options["path"]]
    for name in (*WARM, *options["preload"]):
        importlib.import_module(name)
    sys.path.insert(0, cell.WORK if isolated else "")
    _rehearse(isolated)
    gc.collect()
    gc.freeze()
    places = _survey(isolated)
    _send(replies, {"ready": True, "python": sys.version.split()[0]})
    while (job := _receive(requests)) is not None:
        _send(replies, _serve(job, isolated, places))


def _rehearse(isolated: bool) -> None:
    """Do once, without effect, what every child will do.

    What Python makes once per process (its hundreds of syntax-tree types, with the first
    `compile`; caches; specialised instructions) then lies in pages that the children share.
    """
    scope: dict[str, Any] = {}
    for _ in range(16):
        exec(compile(_EXERCISE, "main.py", "exec", dont_inherit=True), scope)
        for which in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
            resource.setrlimit(which, resource.getrlimit(which))
        if isolated:
            with suppress(OSError):
                linux.mount_tmpfs("/nowhere", 1, "500")


def _survey(isolated: bool) -> dict[str, int]:
    """Where the stack of a Python program that has ended stands, with each kind of keeper.

    It is measured with a program of ours, which forges nothing; every later one is forked at the
    same depth. It has had a thread: in such a process the C library's `write` keeps a little more
    on the stack, so that one that never had any stands somewhat higher, which is allowed.
    """
    step = {"code": _HAS_HAD_A_THREAD, "wall": 30.0, "cpu": 30.0, "memory": -1, "processes": 64}
    step |= {"file_bytes": 1 << 20, "open_files": 64, "output_bytes": 1 << 16}
    places = {"server": 0, "keeper": 0}
    for name, keep in (("server", []), ("keeper", ["*"])):
        job = {"files": {}, "steps": [step], "keep": keep, "disk": 1 << 20, "proc": False}
        reply = _serve(job, isolated, places)
        if not reply.get("steps") or not reply["steps"][0]["place"]:
            reason = reply.get("lost") or "it does not show where a process waits"
            sys.exit(f"this kernel cannot tell whether a program has ended: {reason}")
        places[name] = reply["steps"][0]["place"]
    return places


def _serve(job: dict[str, Any], isolated: bool, places: dict[str, int]) -> dict[str, Any]:
    try:
        if isolated and len(job["steps"]) == 1 and "code" in job["steps"][0] and not job["keep"]:
            return cell.run_program(job, places["server"])
        return _serve_by_keeper(job, isolated, places["keeper"])
    except OSError as error:
        return {"lost": f"the cell failed: {error!r}"}


def _serve_by_keeper(job: dict[str, Any], isolated: bool, place: int) -> dict[str, Any]:
    """Run the job in a process that is the first of its cell and waits for the job's steps."""
    read, write = os.pipe()
    keeper = linux.fork_into(linux.CELL) if isolated else os.fork()
    if keeper == 0:
        os.close(read)
        _keep(job, write, isolated, place)
    os.close(write)
    limit = time.monotonic() + sum(step["wall"] for step in job["steps"]) + _GRACE
    data = _read_until(read, limit)
    os.close(read)
    os.kill(keeper, signal.SIGKILL)
    os.waitpid(keeper, 0)
    try:
        reply: dict[str, Any] = json.loads(data)
    except ValueError:
        return {"lost": "the cell ended without an answer, probably killed for lack of memory"}
    return reply


def _keep(job: dict[str, Any], write: int, isolated: bool, place: int) -> None:
    """Run the job in the forked keeper and send the answer; never returns."""
    try:
        linux.die_with_parent()
        if isolated:
            _answer(write, cell.run_job(job, place))
        else:
            import tempfile  # not needed when isolated, and slow to import

            with tempfile.TemporaryDirectory(prefix="codling-unsafe-") as work:
                _answer(write, cell.run_job(job, place, work=work, isolated=False))
    except BaseException as error:  # noqa: BLE001 - the reason goes to the caller, whatever it is
        _answer(write, {"lost": f"the cell failed: {error!r}"})
    finally:
        os._exit(0)


def _answer(fd: int, reply: dict[str, Any]) -> None:
    data = json.dumps(reply).encode()
    while data:
        data = data[os.write(fd, data) :]


def _read_until(fd: int, limit: float) -> bytes:
    data = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, limit - time.monotonic()) * 1000):
        chunk = os.read(fd, 1 << 20)
        if not chunk:
            break
        data += chunk
    return data


def _receive(fd: int) -> dict[str, Any] | None:
    header = _read_exactly(fd, 4)
    if header is None:
        return None
    body = _read_exactly(fd, struct.unpack("=I", header)[0])
    job: dict[str, Any] | None = None if body is None else json.loads(body)
    return job


def _read_exactly(fd: int, n: int) -> bytes | None:
    data = b""
    while len(data) < n:
        chunk = os.read(fd, n - len(data))
        if not chunk:
            return None
        data += chunk
    return data


def _send(fd: int, reply: dict[str, Any]) -> None:
    data = json.dumps(reply).encode()
    data = struct.pack("=I", len(data)) + data
    while data:
        data = data[os.write(fd, data) :]
