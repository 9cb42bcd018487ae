"""The witness of a Python verdict: knows a nonce that the judged program cannot read with
Python's own means.

A program proves that it ran to its end by its runner asking the notary to write the nonce once
more. The nonce lives in the closure of an audit hook: such a hook cannot be listed or removed,
and a second hook refuses the garbage collector's introspection, which could find it, and tracing,
which could jump over the tests. The notary answers only to the very frame that called `arm`, so a
program that leaves early, writes to every descriptor or calls `sys.audit` itself proves nothing.

Not here: protection from native code. A program that reads its own process's memory (ctypes) can
forge a verdict about itself; it still cannot touch the host or another sample.
"""

import os
import sys

EVENT = "codling.finished"
_REFUSED = ("gc.get_objects", "gc.get_referrers", "sys.settrace")
"""Not gc.get_referents, which pandas 1 needs: it leads only to what is reachable anyway, and no
object refers to the hook."""


def arm(verdict: int) -> None:
    """Draw a nonce, write it to the pipe `verdict`, and write it again on EVENT from the caller's
    frame.

    A verdict holds if the pipe carries exactly the same 16 bytes twice.
    """
    nonce = os.urandom(16)
    write, get_frame, caller = os.write, sys._getframe, sys._getframe(1)
    write(verdict, nonce)

    def witness(event: str, args: tuple[object, ...]) -> None:  # noqa: ARG001 - the hook's shape
        if event == EVENT and get_frame(1) is caller:
            write(verdict, nonce)

    sys.addaudithook(witness)
    sys.addaudithook(_guard)


def proves(data: bytes) -> bool:
    """Whether what came through the pipe is a nonce and its repetition."""
    return len(data) == 32 and data[:16] == data[16:]


def _guard(event: str, args: tuple[object, ...]) -> None:  # noqa: ARG001 - the hook's shape
    if event in _REFUSED:
        raise PermissionError(f"{event} is not available in the sandbox")
