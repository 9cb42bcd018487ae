"""From what a program did to what that means: passed, or the reason why not.

Input: a Reply of a box. Output: an Outcome. Two ways to judge: a Python program must prove that
it ran to its end; any other program is judged by a rule of its toolchain (toolchains.py), which
is given here as `passed`.

Not here: the running (box.py).
"""

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from codling.sandbox.box import Job, Reply, Step, StepReply

Status = Literal[
    "passed",
    "failed",
    "left early",
    "tampering",
    "timed out",
    "killed",
    "out of memory",
    "too much output",
    "compile error",
    "lost",
]
_SIGNALS = {6: "abort", 7: "bus error", 8: "arithmetic error", 11: "segmentation fault"}
_SIGNALS |= {each: each.name for each in signal.Signals if each not in _SIGNALS}


_TELLING = re.compile(r"error|failure|fail:|panicked", re.I)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The verdict on one program."""

    status: Status
    detail: str = ""
    """The most informative line: the exception, the compiler's first error, the signal."""
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    """Run time of the last step (compiling is not in it)."""
    exit: int | None = None
    """Exit status of the last step that ran; None if a signal or a limit ended it."""
    signal: int | None = None
    """The signal that ended it, if one did."""

    @property
    def passed(self) -> bool:
        """Whether the program did all that was asked."""
        return self.status == "passed"


def has_proved_end(step: StepReply) -> bool:
    """The rule for Python: the notary has confirmed the end."""
    return step.proved


def judge(job: Job, reply: Reply, passed: Callable[[StepReply], bool] = has_proved_end) -> Outcome:
    """The verdict on `reply`; `passed` decides about a last step that ended in order."""
    if reply.lost:
        status: Status = "out of memory" if reply.out_of_memory else "lost"
        return Outcome(status=status, detail=reply.lost)
    last = reply.steps[-1]
    finished = len(reply.steps) == len(job.steps)
    asked = job.steps[len(reply.steps) - 1]
    status, detail = _status(last, asked, finished, reply.out_of_memory, passed)
    return Outcome(
        status=status,
        detail=detail,
        stdout=last.stdout,
        stderr=last.stderr,
        seconds=last.seconds if finished else 0.0,
        exit=last.exit,
        signal=last.signal,
    )


def _status(
    step: StepReply, asked: Step, finished: bool, oom: bool, passed: Callable[[StepReply], bool]
) -> tuple[Status, str]:
    limits, is_python = asked.limits, asked.code is not None
    if step.timed_out:
        return "timed out", f"after {limits.wall_seconds:g} s"
    if step.flooded:
        return "too much output", "it wrote far more than its limit"
    if step.tampered:
        return "tampering", "it asked for frames, where the tests keep what they expect"
    if finished and passed(step):
        return "passed", ""
    if oom or "MemoryError" in step.stderr[-200:]:
        return "out of memory", "more memory than its limit"
    if not finished:
        return "compile error", telling_line(step.stderr or step.stdout)
    if step.signal == 24:
        return "timed out", f"after {limits.cpu_seconds:g} s of processor time"
    if step.signal is not None:
        return "killed", _SIGNALS.get(step.signal, f"signal {step.signal}")
    if step.exit == 0 and (is_python or not step.stderr.strip()):
        # A Python program that fails ends with 1, whatever its children write; a failed test of
        # Racket is told on stderr and ends with 0.
        return "left early", "status 0 without having run to the end"
    return "failed", telling_line(step.stderr or step.stdout) or f"exit status {step.exit}"


def telling_line(text: str) -> str:
    """The most informative line of a log: the last of a traceback, else the first that tells of an
    error or a failure, else the last.

    >>> telling_line("Traceback (most recent call last):\\n  File x\\nKeyError: 3\\n")
    'KeyError: 3'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    if "Traceback (most recent call last)" not in text:
        lines = [line for line in lines if _TELLING.search(line)][:1] or lines
    return re.sub(r"\b0x[0-9a-f]{6,}", "0x...", lines[-1])[:300]  # addresses differ each time
