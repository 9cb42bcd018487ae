"""A cell, where one job runs: new pid, mount and IPC namespaces, an empty work folder, limits.

Input: a job as JSON (see protocol below). Output: what each of its steps did. The cell's first
process is pid 1 of its own pid namespace: when a step ends, everything that it started is killed
with one call, and when the cell ends the kernel takes the rest, mounts and shared memory
included. So no job sees another.

    job    {"files": {name: text}, "binary": {name: base64}, "steps": [step], "keep": [glob],
            "disk": bytes, "proc": whether it sees /proc}
    step   {"argv": [..] or "code": text, "stdin": text, "wall": s, "cpu": s, "memory": bytes,
            "processes": n, "file_bytes": n, "open_files": n, "output_bytes": n, "env": {..}}
    reply  {"steps": [{"exit", "signal", "timed_out", "flooded", "proved", "stdout", "stderr",
                       "seconds", "cpu"}],
            "kept": {name: base64}}

Not here: the outer sandbox (bubblewrap makes it), and what a step's outcome means (../outcome.py).
"""

import binascii
import fcntl
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from . import linux, notary, program, seccomp

WORK = "/work"
_FRESH = ("/tmp", "/dev/shm")
_FILTERS = {
    True: seccomp.filter_bytes(linux.machine(), "cell"),  # bubblewrap has set the other part
    False: seccomp.filter_bytes(linux.machine()),
}
"""The system-call filter of a step, isolated or not."""
_covered: list[str] = []
"""Folders shown to programs that lie below one of the fresh file systems."""
_FLOOD = 16
"""A step is killed when it writes this many times more than what is kept of its output."""


def run_job(
    job: dict[str, Any], place: int, *, work: str = WORK, isolated: bool = True
) -> dict[str, Any]:
    """Run the job's steps in order, up to the first that does not end with status 0.

    To be called in the cell's first process, or, not isolated, in a process of its own. `place`
    is where the stack of a Python program that has ended stands; 0 to be told.
    """
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    if isolated:
        _furnish(job)
    else:
        linux.adopt_orphans()
    _write_files(job, work)
    done: list[dict[str, Any]] = []
    for step in job["steps"]:
        child, watch = _start(step, work, proc, place, isolated)
        status, usage = _wait(child, watch, -1 if isolated else child)
        _kill_rest(child, isolated)
        done.append(_step_reply(watch, status, usage))
        if done[-1]["exit"] != 0 or done[-1]["timed_out"]:
            break
    return {"steps": done, "kept": _read_kept(job, work)}


def keep_in_sight(folders: list[str]) -> None:
    """Let every later job see `folders` also where they lie below a folder that it gets fresh,
    as a compiler's files do for a user whose home is below /tmp."""
    fresh = tuple(f"{path}/" for path in (WORK, *_FRESH))
    _covered[:] = [each for each in folders if each.startswith(fresh) and os.access(each, os.R_OK)]


def run_program(job: dict[str, Any], place: int) -> dict[str, Any]:
    """Run a job that is one Python program, and let the server itself be its keeper.

    That saves a fork. The cell's first process only waits; with its end the kernel ends all
    others in their pid namespace.
    """
    (step,) = job["steps"]
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)

    def furnish() -> None:
        linux.die_with_parent()
        _furnish(job)
        _write_files(job, WORK)

    first = linux.start_pid_namespace()
    try:
        child, watch = _start(step, WORK, proc, place, True, furnish)
        status, usage = _wait(child, watch, child, first)
    finally:
        linux.return_to_own_pids()
        _kill(first)
        os.waitpid(first, 0)
        os.close(proc)
    return {"steps": [_step_reply(watch, status, usage)], "kept": {}}


def _furnish(job: dict[str, Any]) -> None:
    """Empty file systems over all that a job may write, and over /proc unless the job needs it:
    then nothing there can be written."""
    n_bytes = int(job.get("disk", 256 << 20))
    held = [(os.open(path, os.O_PATH), path) for path in _covered]
    for path in (WORK, *_FRESH):
        linux.mount_tmpfs(path, n_bytes)
    for fd, path in held:
        linux.mount_open(fd, path)
    if job["proc"]:
        linux.make_read_only("/proc")
    else:
        linux.mount_tmpfs("/proc", 4096, "500")


def _write_files(job: dict[str, Any], work: str) -> None:
    contents = {name: text.encode() for name, text in job.get("files", {}).items()}
    contents |= {name: binascii.a2b_base64(data) for name, data in job.get("binary", {}).items()}
    for name, data in contents.items():
        path = f"{work}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - see below
        with open(path, "wb") as file:  # noqa: PTH123 - pathlib would make every fork slower
            file.write(data)


def _read_kept(job: dict[str, Any], work: str) -> dict[str, str]:
    """The files that the caller asked back; links and special files are never returned."""
    patterns = job.get("keep")
    if not patterns:
        return {}
    from pathlib import Path

    kept = {}
    for path in (path for pattern in patterns for path in Path(work).glob(pattern)):
        if path.is_file() and not path.is_symlink():
            data = binascii.b2a_base64(path.read_bytes(), newline=False)
            kept[str(path.relative_to(work))] = data.decode()
    return kept


def _start(  # noqa: PLR0913 - what `_become` is given, and what the watch needs
    step: dict[str, Any],
    work: str,
    proc: int,
    place: int,
    isolated: bool,
    furnish: Callable[[], None] | None = None,
) -> tuple[int, "_Watch"]:
    """Fork the step; with `furnish`, into new mounts that this call furnishes."""
    ends = [os.pipe() for _ in ("stdout", "stderr", "verdict")]
    fcntl.fcntl(ends[-1][0], fcntl.F_SETPIPE_SZ, 1)  # the smallest there is
    key = step.get("key", "")
    given = [_stdin(step.get("stdin", "")), *([_pipe_with(key)] if key else [])]
    limit = time.monotonic() + step["wall"]
    child = os.fork() if furnish is None else linux.fork_into(linux.CELL_BUT_PIDS)
    if child == 0:
        fds = [given[0], *(write for _, write in ends), *given[1:]]
        _become(step, work, proc, fds, isolated, furnish)
    for fd in (*given, *(write for _, write in ends)):
        os.close(fd)
    watch = _Watch(child, [read for read, _ in ends], limit, step["output_bytes"])
    watch.key = key.encode()
    if "code" in step:
        pid = child if furnish else linux.number_outside(watch.pidfd, proc)
        watch.expect_a_claim(_EndProbe(pid, proc, place))
    return child, watch


def _wait(child: int, watch: "_Watch", *targets: int) -> tuple[int, resource.struct_rusage]:
    """Wait for the step, or kill `targets` when it must end or has proved its end; its status."""
    try:
        watch.until_exit()
    finally:  # whatever happens here, no process is left behind
        watch.seconds = time.monotonic() - watch.started
        if not watch.over:
            for target in targets:  # all before the first wait: they end side by side
                _kill(target)
        _, status, usage = os.wait4(child, 0)
    return 0 if watch.proved else status, usage


def _step_reply(watch: "_Watch", status: int, usage: resource.struct_rusage) -> dict[str, Any]:
    """What the step did, once nobody writes to its pipes any more."""
    stdout, stderr, verdict = watch.drain()
    return {
        "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "timed_out": watch.timed_out,
        "flooded": watch.flooded,
        "proved": watch.proved or (bool(watch.key) and verdict == watch.key),
        "tampered": notary.TAMPERED in verdict and watch.look is not None,
        "place": watch.look.place if watch.look is not None else 0,
        "stdout": stdout.decode(errors="replace"),
        "stderr": stderr.decode(errors="replace"),
        "seconds": watch.seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
    }


def _pipe_with(text: str) -> int:
    """A descriptor from which `text` can be read once, and only once."""
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)
    return read


def _stdin(text: str) -> int:
    """A descriptor to read `text` from: a file in memory, so that nobody has to write while it
    runs."""
    if not text:
        return os.open("/dev/null", os.O_RDONLY)
    fd = os.memfd_create("stdin")
    os.write(fd, text.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class _Watch:
    """Collects a step's output until it ends, runs out of time, or floods.

    Plain lists and one poll object: every object that the server touches while a child lives
    costs a copied page.
    """

    def __init__(self, child: int, reads: list[int], deadline: float, cap: int) -> None:
        """`reads` are stdout, stderr and the verdict pipe."""
        self.started, self.deadline, self.cap = time.monotonic(), deadline, cap
        self.reads, self.data = reads, [b""] * len(reads)
        self.n_seen, self.seconds, self.key = 0, 0.0, b""
        self.over = self.timed_out = self.flooded = self.proved = False
        self.look: _EndProbe | None = None
        self.pidfd = os.pidfd_open(child)
        self._poll = select.poll()
        for fd in (*reads[:-1], self.pidfd):
            self._poll.register(fd, select.POLLIN)

    def expect_a_claim(self, look: "_EndProbe") -> None:
        """The step is a Python program: when it claims to have ended, `look` decides whether it
        has.

        Its pipe is read only when all is over: until then a program that writes more than the pipe
        holds waits.
        """
        self.look = look
        self._poll.register(self.reads[-1], select.POLLIN)

    def until_exit(self) -> None:
        """Returns when the child is over, has proved its end, or must be killed."""
        claimed, pause = False, 0.0  # milliseconds between two looks at a child that claims
        while not (self.over or self.timed_out or self.flooded):
            left = self.deadline - time.monotonic()
            if left <= 0:
                self.timed_out = True
                return
            for fd, _ in self._poll.poll(min(left * 1000 + 1, pause or left * 1000 + 1)):
                if fd == self.pidfd:
                    self.over = True
                elif fd == self.reads[-1]:
                    self._poll.unregister(fd)
                    claimed = True
                elif not self._take(self.reads.index(fd)):
                    self._poll.unregister(fd)
            if claimed and self.look is not None:
                self.proved = not self.over and self.look.sees_the_end()
                if self.proved:
                    return
                pause = min(pause + 0.1, 10.0)

    def drain(self) -> list[bytes]:
        """All that was written to each pipe, with what is left there now."""
        os.close(self.pidfd)
        for which, fd in enumerate(self.reads):
            os.set_blocking(fd, False)
            try:
                while self._take(which):
                    pass
            except BlockingIOError:
                pass
            os.close(fd)
        return self.data

    def _take(self, which: int) -> bool:
        chunk = os.read(self.reads[which], 1 << 16)
        if not chunk:
            return False
        self.n_seen += len(chunk) if which < 2 else 0
        self.flooded = self.flooded or self.n_seen > self.cap * _FLOOD
        self.data[which] += chunk[: self.cap - len(self.data[which])]
        return self.n_seen <= self.cap * (_FLOOD + 1)


class _EndProbe:
    """Sees whether a Python program has come to its end (notary.py)."""

    def __init__(self, pid: int, proc: int, place: int) -> None:
        self.pid, self.proc, self.place, self.before = pid, proc, place, 0

    def sees_the_end(self) -> bool:
        """Whether it waits where only a program that has ended can; if no place is known yet, the
        one where it waits becomes it."""
        try:
            stands = linux.stack_pointer(self.pid, self.proc)
            if linux.has_become_another(self.pid, self.proc):  # with a stack at any height
                return False
        except OSError:  # it ends just now
            return False
        if stands and not self.place:
            self.place = stands if stands == self.before else 0
            self.before = stands
        return 0 < self.place <= stands


def _kill_rest(child: int, isolated: bool) -> None:
    """Kill and collect all that an ended step has left, however deep and detached."""
    if isolated:
        _kill(-1)  # as pid 1 of the namespace: every process in it but this one
    else:
        _kill(-child)
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123 - as above
            for pid in file.read().split():
                _kill(int(pid))
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return


def _kill(target: int) -> None:
    try:
        os.kill(target, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _become(  # noqa: PLR0913 - it ends a process: there is no caller to return to
    step: dict[str, Any],
    work: str,
    proc: int,
    fds: list[int],
    isolated: bool,
    furnish: Callable[[], None] | None,
) -> None:
    """Turn the forked child into the step; never returns."""
    leave, write = os._exit, os.write  # the program may replace them
    try:
        os.setsid()
        _prefer_for_oom(proc)
        if furnish is not None:
            furnish()
        for target, fd in enumerate(fds if min(fds) > 4 else _move_above_4(fds)):
            os.dup2(fd, target)
        os.closerange(len(fds), 65536)
        os.chdir(work)
        _limit(step, isolated)
        if isolated:
            linux.drop_capabilities()
        linux.install_filter(_FILTERS[isolated])
        linux.admit_signals()
        if "code" in step:
            program.run(step, 3)
        else:
            os.execve(step["argv"][0], step["argv"], {**os.environ, **step.get("env", {})})
    except BaseException as error:  # noqa: BLE001 - whatever it is, the child must not return
        write(2, f"the sandbox could not start the step: {error!r}\n".encode())
    finally:
        leave(125)


def _move_above_4(fds: list[int]) -> list[int]:
    """Copies of the descriptors that cannot collide with 0 to 4."""
    return [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]


def _prefer_for_oom(proc: int) -> None:
    """Let the kernel kill the step, not its keeper, when the cell's memory runs out."""
    fd = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=proc)
    os.write(fd, b"1000")
    os.close(fd)


def _limit(step: dict[str, Any], isolated: bool) -> None:
    memory = resource.RLIMIT_AS if "code" in step else resource.RLIMIT_DATA
    cpu = int(step["cpu"]) + 1
    limits = [
        (resource.RLIMIT_CPU, cpu),
        (memory, step["memory"]),
        (resource.RLIMIT_FSIZE, step["file_bytes"]),
        (resource.RLIMIT_NOFILE, step["open_files"]),
        (resource.RLIMIT_CORE, 0),
    ]
    if isolated:  # outside a user namespace the count would be over all of the user's processes
        limits.append((resource.RLIMIT_NPROC, step["processes"]))
    for which, value in limits:
        resource.setrlimit(which, (value, value))
    sys.stdout.flush()
