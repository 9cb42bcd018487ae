"""A box: one isolated fork server, which runs one job at a time.

Input: a Job (files and steps). Output: a Reply, one StepReply per step that ran. A box that dies
or hangs is started again, and the job that killed it is reported as lost.

Not here: many boxes at once (pool.py), and what a reply means as a verdict (outcome.py).
"""

import json
import os
import select
import struct
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from codling.core.errors import ToolMissingError
from codling.sandbox import bubblewrap, cgroup
from codling.sandbox.identity import USER
from codling.sandbox.interpreter import Interpreter, own_interpreter
from codling.sandbox.launch import end, launch
from codling.sandbox.limits import Limits

_START_SECONDS = 60.0
_STARTS = 3
_GRACE = 15.0
_AHEAD = 60_000
"""Bytes of a job that may be sent before the one before it has ended: a pipe holds 65,536."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One program to run in a job: a command line, or Python source for the warm interpreter."""

    argv: tuple[str, ...] = ()
    code: str | None = None
    stdin: str = ""
    limits: Limits = field(default_factory=Limits)
    env: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    """With `argv`: to be read once from descriptor 4 and, as proof of the end, written back on
    3."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Files in an empty work folder, and steps to run there until the first one that fails."""

    steps: tuple[Step, ...]
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    """Patterns of files to hand back."""
    proc: bool = False
    """Whether Python programs see /proc too, as those of other languages always do."""

    @property
    def memory_bytes(self) -> int:
        """What all its processes may take together, where there is a control group."""
        return max(step.limits.memory_bytes for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class StepReply:
    """What one step did."""

    exit: int | None
    """Exit status, or None if a signal ended it."""
    signal: int | None
    timed_out: bool
    flooded: bool
    """It wrote far more than its output limit."""
    proved: bool
    """It ran to its end: a Python program as its keeper saw (inside/notary.py), another as its
    runner said by giving back the step's key."""
    tampered: bool
    """A Python program whose own code asked for frames, where a test keeps what it expects."""
    stdout: str
    stderr: str
    seconds: float
    cpu: float


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a job's steps did; `lost` holds the reason if there is no answer."""

    steps: tuple[StepReply, ...] = ()
    kept: Mapping[str, bytes] = field(default_factory=dict)
    lost: str = ""
    out_of_memory: bool = False


Take = Callable[[bool], tuple[int, Job] | None]
"""Gives the next job with its index, or None. Asked with True it should give one only if there
are enough: the job will wait for another one to end."""


@dataclass(kw_only=True)
class _PendingJob:
    """A job with its message for the server."""

    index: int
    job: Job
    message: bytes
    sent: bool = False

    @classmethod
    def of(cls, taken: tuple[int, Job] | None) -> "Self | None":
        if taken is None:
            return None
        data = json.dumps(_job_message(taken[1])).encode()
        message = struct.pack("=I", len(data)) + data
        return cls(index=taken[0], job=taken[1], message=message)

    def fits_beside(self, running: Self) -> bool:
        """Whether it may lie in the pipe while another runs: no more than what the pipe holds, so
        that the two sides do not wait for each other, and under one bound of memory."""
        is_short = len(self.message) <= _AHEAD
        return is_short and self.job.memory_bytes == running.job.memory_bytes


class Box:
    """A running fork server; use it in a `with` block."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        unsafe: bool = False,
        shown: Sequence[Path] = (),
        preload: Sequence[str] = (),
        python: Interpreter | None = None,
    ) -> None:
        """`limits` bound the whole box (its control group); `shown` are folders to see
        read-only; `python` runs the programs, our own if none is given."""
        self.limits, self.unsafe, self.python = limits, unsafe, python or own_interpreter()
        self.shown, self.preload = tuple(shown), tuple(preload)
        self.group: cgroup.ControlGroup | str = "not started"
        self._memory_bytes = self.limits.memory_bytes
        self.exposed = ""
        """Why programs run as the host's root, "" if they do not."""
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = bytearray()
        self._n_oom_kills = 0

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, job: Job) -> Reply:
        """Run a job; never raises for what the job does."""
        one = iter([(0, job)])
        ((_, reply),) = self.stream(lambda _ahead: next(one, None))
        return reply

    def stream(self, take: Take) -> Iterator[tuple[int, Reply]]:
        """Run jobs, one after the other, as long as `take` gives any; pairs of index and reply.

        While one job runs the next is already in the server's pipe, so that the server does not
        wait for us between short jobs.
        """
        coming: _PendingJob | None = None
        while (now := coming or _PendingJob.of(take(False))) is not None:
            sent = now.sent or self._send(now)
            coming = _PendingJob.of(take(True))
            if coming is not None and sent and coming.fits_beside(now):
                coming.sent = self._send(coming)
            reply = self._collect(now.job) if sent else self._give_up("its pipe closed")
            if coming is not None and self._process is None:
                coming.sent = False
            yield now.index, reply

    def _collect(self, job: Job) -> Reply:
        """The reply to a job that was sent."""
        if self.exposed and _sees_proc(job):
            self.close()
            raise ToolMissingError(
                f"programs that see /proc do not run as root's own user: {self.exposed}; "
                "run codling as an ordinary user"
            )
        kills = self._n_oom_kills
        try:
            answer = self._receive(sum(step.limits.wall_seconds for step in job.steps) + _GRACE)
        except (OSError, EOFError) as error:
            return self._give_up(error)
        self._n_oom_kills = self._oom_kills()
        return _read_reply(answer, out_of_memory=self._n_oom_kills > kills)

    def _give_up(self, reason: object) -> Reply:
        self.close()
        return Reply(lost=f"the sandbox ended or hung while the job ran ({reason})")

    def kill(self) -> None:
        """Tell the server to end; `close` waits until it has."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the server and everything in it."""
        if self._process is not None:
            end(self._process)
            self._process = None
        if isinstance(self.group, cgroup.ControlGroup):
            self.group.remove()
            self.group = "closed"

    def _start(self) -> None:
        """Start the server; again, some times, where it ends without a word, as what somebody kills
        does."""
        for n_left in reversed(range(_STARTS)):
            self.group = cgroup.create(self.limits)
            self._memory_bytes = self.limits.memory_bytes
            self._unread.clear()
            self._n_oom_kills = 0
            try:
                self._launch()
                self._receive(_START_SECONDS)
                return
            except ToolMissingError:
                self.close()
                raise
            except (OSError, EOFError) as error:
                said = self._final_stderr()
                self.close()
                if said or isinstance(error, TimeoutError) or not n_left:
                    raise ToolMissingError(
                        f"the sandbox does not start: {said or error}; see `codling evaluate "
                        "doctor`"
                    ) from None

    def _launch(self) -> None:
        """Start the server and, while it loads, put it into its control group."""
        inner: int | None = None
        if self.unsafe:
            self._process = launch(self._argv(), env=bubblewrap.ENVIRONMENT)
        else:
            walled = bubblewrap.start(self._argv(), self.shown, python=self.python)
            self._process, inner, self.exposed = walled.process, walled.inner, walled.exposed
        if isinstance(self.group, cgroup.ControlGroup):
            self.group.put(pid for pid in (self._process.pid, inner) if pid is not None)

    def _final_stderr(self) -> str:
        if self._process is None or self._process.stderr is None:
            return ""
        self._process.kill()
        self._process.wait()
        # What outlives it may hold the pipe open: what is in it now is all that is waited for.
        os.set_blocking(self._process.stderr.fileno(), False)
        said = (self._process.stderr.read() or b"").decode(errors="replace")
        return (said.strip().splitlines() or [""])[-1]

    def _argv(self) -> list[str]:
        options = {
            "isolated": not self.unsafe,
            "user": USER,
            "preload": self.preload,
            "shown": [*map(str, self.shown), *self.python.folders],
            "path": self.python.packages if self.unsafe else bubblewrap.inside_folders(self.python),
        }
        root = str(Path(__file__).parent) if self.unsafe else bubblewrap.INSIDE
        source = (
            f"import sys; sys.path.insert(0, {root!r}); from inside.server import main; "
            f"main({options!r})"
        )
        # Not -I: it would ignore PYTHONHASHSEED, the one variable for Python in our environment,
        # and programs that print sets would not do the same twice.
        return [self.python.path, "-P", "-s", "-S", "-c", source]

    def _oom_kills(self) -> int:
        return self.group.oom_kills() if isinstance(self.group, cgroup.ControlGroup) else 0

    def _send(self, pending: _PendingJob) -> bool:
        """Whether the server, started if need be, took the job."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._bound_memory(pending.job.memory_bytes)
        view = memoryview(pending.message)
        try:
            while view:
                view = view[os.write(self._process.stdin.fileno(), view) :]
        except OSError:
            return False
        return True

    def _bound_memory(self, n_bytes: int) -> None:
        """Give the group the bound of the job that comes next."""
        if isinstance(self.group, cgroup.ControlGroup) and n_bytes != self._memory_bytes:
            # Less than the kernel still counts is refused; each process has its own bound, too.
            with suppress(OSError):
                self.group.bound_memory(n_bytes)
                self._memory_bytes = n_bytes

    def _receive(self, seconds: float) -> dict[str, Any]:
        limit = time.monotonic() + seconds
        (length,) = struct.unpack("=I", self._read(4, limit))
        message: dict[str, Any] = json.loads(self._read(length, limit))
        return message

    def _read(self, n: int, limit: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        while len(self._unread) < n:
            ready, _, _ = select.select([fd], [], [], max(0.0, limit - time.monotonic()))
            if not ready:
                raise TimeoutError("no answer in time")
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                raise EOFError("its pipe closed")
            self._unread += chunk
        data = bytes(self._unread[:n])
        del self._unread[:n]
        return data


def describe(*, unsafe: bool = False) -> str:
    """One line on what protects the host here, and what does not."""
    if unsafe:
        return (
            "UNSAFE: limits of time, memory and files, but no isolation; "
            "code sees the host's files and network"
        )
    group = cgroup.create(Limits())
    walls = (
        "bubblewrap: own user, pid, mount, ipc, network and host name; read-only system; seccomp"
    )
    if isinstance(group, cgroup.ControlGroup):
        group.remove()
        return f"{walls}; control group bounds processes and memory"
    held = "not held back: run as another user" if os.getuid() == 0 else "held by RLIMIT_NPROC"
    return f"{walls}; {group}: memory is bounded per process only, fork bombs are {held}"


def _sees_proc(job: Job) -> bool:
    return job.proc or any(step.code is None for step in job.steps)


def _job_message(job: Job) -> dict[str, Any]:
    texts = {n: f for n, f in job.files.items() if isinstance(f, str)}
    binary = {n: b64encode(f).decode() for n, f in job.files.items() if isinstance(f, bytes)}
    return {
        "files": texts,
        "binary": binary,
        "keep": list(job.keep),
        "proc": _sees_proc(job),
        "disk": max(step.limits.disk_bytes for step in job.steps),
        "steps": [_step_message(step) for step in job.steps],
    }


def _step_message(step: Step) -> dict[str, Any]:
    limits = step.limits
    what: dict[str, Any] = (
        {"argv": list(step.argv), "env": dict(step.env), "key": step.key}
        if step.code is None
        else {"code": step.code}
    )
    return what | {
        "stdin": step.stdin,
        "wall": limits.wall_seconds,
        "cpu": limits.cpu_seconds,
        "memory": limits.memory_bytes,
        "processes": limits.processes,
        "file_bytes": limits.file_bytes,
        "open_files": limits.open_files,
        "output_bytes": limits.output_bytes,
    }


def _read_reply(answer: dict[str, Any], out_of_memory: bool) -> Reply:
    return Reply(
        out_of_memory=out_of_memory,
        steps=tuple(_read_step(step) for step in answer.get("steps", ())),
        kept={name: b64decode(data) for name, data in answer.get("kept", {}).items()},
        lost=answer.get("lost", ""),
    )


def _read_step(answer: dict[str, Any]) -> StepReply:
    return StepReply(**{name: value for name, value in answer.items() if name != "place"})
