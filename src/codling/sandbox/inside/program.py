"""Runs a Python program in the process that was forked for it, and has the notary witness its end.

Input: a step with `code`, and the pipe for the verdict. Output: the process's end: status 0 after
a proof, 1 with a traceback on stderr otherwise. Not here: limits and isolation (cell.py).
"""

import io
import os
import sys
import traceback
import types
from typing import Any

from . import notary


def run(step: dict[str, Any], verdict: int) -> None:
    """Execute `step["code"]` as a module; ends the process."""
    leave = os._exit  # the program may replace it
    name = step.get("module", "__main__")
    module = types.ModuleType(name)
    sys.modules["__main__"] = sys.modules[name] = module
    sys.argv = ["main.py"]
    status = 1
    try:
        code = compile(step["code"], "main.py", "exec", dont_inherit=True)
        _judge(code, module.__dict__, verdict)
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001 - a program may raise anything
        _show_failure()
    _flush()
    leave(status & 0xFF)


def _judge(code: types.CodeType, scope: dict[str, Any], verdict: int) -> None:
    audit = sys.audit
    notary.arm(verdict)
    # On one line, so that no line of this frame runs after the program has been left by an
    # exception.
    exec(code, scope); audit(notary.EVENT)  # noqa: E702  # fmt: skip


def open_streams() -> None:
    """Python's streams on the descriptors 0 to 2, to be called once in the server: what a child
    puts there is what they read and write."""
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8", errors="replace"
    )
    sys.stderr = io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False), encoding="utf-8", errors="replace", write_through=True
    )


def _show_failure() -> None:
    """The traceback without our own frames, which say nothing about the program."""
    try:
        kind, error, trace = sys.exc_info()
        while trace is not None and trace.tb_frame.f_code.co_filename != "main.py":
            trace = trace.tb_next
        lines = traceback.format_exception(kind, error, trace, limit=-20)
        os.write(2, "".join(lines).encode(errors="replace")[-16384:])
    except BaseException:  # noqa: BLE001 - the program may have broken the traceback module
        os.write(2, b"the program failed, and its traceback could not be printed\n")


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the program may have replaced or closed it
        return
