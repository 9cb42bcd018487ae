"""The proof of a Python verdict: the keeper reads the program's stack pointer from the kernel.

A program proves that it ran to its end by being at a place that it cannot reach before: its runner
(`run_to_the_end`) says so on a pipe that nobody reads, and while it waits there the keeper, another
process, reads from the kernel how high its main thread's stack stands. Whatever the judged program
calls, it is called from within `attempt`, which a function written in C has called, so its stack
lies lower than that of the runner, and a thread has another stack; a process that has become
another program (exec) has no such stack. So there is no secret to be
found, in whatever frame, object or signal handler, and a program that leaves early or claims to
have ended proves nothing.

An audit hook refuses tracing, which could jump over the tests, and what would list the hook
itself; it is of a closure that nothing refers to. It also ends a program whose own code asks for
frames, where the expected values are.

Not here: protection from native code. A program that writes its own process's memory (ctypes) can
forge a verdict about itself; it still cannot touch the host or another sample.
"""

import functools
import os
import sys
from collections.abc import Callable

_REFUSED = frozenset(("gc.get_objects", "gc.get_referrers", "sys.settrace"))
"""Not gc.get_referents, which pandas 1 needs: it leads only to what is reachable anyway, and no
object refers to the hook."""
_FRAMES = frozenset(("sys._getframe", "sys._current_frames"))
_OF_FRAMES = frozenset(("tb_frame", "gi_frame", "cr_frame", "ag_frame", "f_code"))
"""Attributes that lead to a frame or to its constants, as the event `object.__getattr__` names
them."""
TAMPERED = b"t"
_ENDED = b"e" * (1 << 17)
"""What is said on the pipe; more than it holds, so that writing it blocks."""


def run_to_the_end(attempt: Callable[[], bool], verdict: int) -> None:
    """Call `attempt`, and if it returns True wait where the keeper will look; never returns.

    No line here may call what a program could have replaced unless the program has ended, for
    Python runs a function that is called from here on this very stack.
    """
    write, leave, get_pid = os.write, os._exit, os.getpid
    judged = get_pid()
    try:
        ended = functools.partial(attempt)()  # partial is written in C: the stack grows
    except:  # noqa: E722 - even the name of an exception could have been replaced
        ended = False
    if ended is True and get_pid() != judged:
        leave(0)  # a child of the program, whose parent may wait for it
    while ended is True:
        write(verdict, _ENDED)
    while True:  # an attempt that fails ends its process itself, unless somebody kept it from that
        pass


def guard(verdict: int) -> None:
    """From now on refuse what reaches around the tests; say on `verdict` that frames were asked
    for."""
    write, get_frame, leave = os.write, sys._getframe, os._exit
    refused, frames, of_frames, said = _REFUSED, _FRAMES, _OF_FRAMES, TAMPERED
    folders = (os.path.dirname(file) for file in (os.__file__, __file__))  # noqa: PTH120
    libraries = tuple({*folders, *sys.path[1:], "<frozen "} - {""})
    looking = False

    def watch(event: str, args: tuple[object, ...]) -> None:
        nonlocal looking
        if event in refused:
            raise PermissionError(f"{event} is not available in the sandbox")
        asked = event in frames or (event == "object.__getattr__" and args[1] in of_frames)
        if not asked or looking:
            return
        looking = True  # to look at the caller is such an event itself
        own = not get_frame(1).f_code.co_filename.startswith(libraries)
        looking = False
        if own:
            write(verdict, said)
            leave(1)

    sys.addaudithook(watch)
