"""Runs a Python program in the process that was forked for it, and has the notary witness its end.

Input: a step with `code`, and the pipe for the verdict. Output: the process's end: paused where
the keeper looks for it after the last line, else by its own status, 1 with a traceback on stderr.
Not here: limits and isolation (cell.py).
"""

import functools
import io
import os
import sys
import traceback
import types
from typing import Any

from . import notary


def run(step: dict[str, Any], verdict: int) -> None:
    """Execute `step["code"]` as a module; never returns."""
    notary.run_to_the_end(functools.partial(_attempt, step["code"], verdict), verdict)


def _attempt(source: str, verdict: int) -> bool:  # noqa: RET503 - it leaves
    """True if the program has run to its end; otherwise the process ends here."""
    leave = os._exit  # the program may replace it
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["main.py"]
    status = 1
    try:
        code = compile(source, "main.py", "exec", dont_inherit=True)
        notary.guard(verdict)
        exec(code, module.__dict__)
        _flush()
        return True
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001 - a program may raise anything
        _show_failure()
    _flush()
    leave(status & 0xFF)


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
