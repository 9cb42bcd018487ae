"""The few kernel calls that Python does not wrap: namespaces, mounts, capabilities, prctl, seccomp.

Not here: when to call them (cell.py).
"""

import _signal  # type: ignore[import-not-found]  # signal's wrap every number
import ctypes
import os
import signal
from functools import cache

NEW_MOUNTS, NEW_IPC, NEW_PIDS = 0x00020000, 0x08000000, 0x20000000
CELL_BUT_PIDS = NEW_MOUNTS | NEW_IPC
CELL = CELL_BUT_PIDS | NEW_PIDS
_SHARED_MEMORY = 0x00000100
_PIDFD = 0x00001000
_SIGNALS = signal.valid_signals()
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_NOSUID_NODEV = 2 | 4
_PRIVATE_RECURSIVE = 0x40000 | 0x4000
_READ_ONLY, _NOEXEC, _REMOUNT, _BIND, _RECURSIVE = 1, 8, 32, 0x1000, 0x4000
_PDEATHSIG, _CAPBSET_DROP, _SECCOMP, _SUBREAPER, _NO_NEW_PRIVS, _AMBIENT = 1, 24, 22, 36, 38, 47
_SET_DUMPABLE = 4
_CLEAR_ALL, _FILTER_MODE = 4, 2
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 40
_FORKED_NOT_REPLACED = 0x40
"""The kernel's PF_FORKNOEXEC, in the ninth word of /proc/PID/stat."""

_CLONE = {"x86_64": 56, "aarch64": 220}
_SET_AND_CLEAR_TID, _SIGCHLD, _GET_TID_ADDRESS = 0x01000000 | 0x00200000, 17, 40

_python = ctypes.PyDLL(None, use_errno=True)
"""Calls that keep the interpreter's lock."""
_clone = _python.syscall
_libc = ctypes.CDLL(None, use_errno=True)


_mount, _prctl, _capset, _setns = _libc.mount, _libc.prctl, _libc.capset, _libc.setns
"""Looked up once: in a forked child each lookup would copy pages."""
_HEADER = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
_NONE = (ctypes.c_uint32 * 6)()


_STACK = ctypes.create_string_buffer(1 << 16)
_STACK_TOP = ctypes.c_void_p(((ctypes.addressof(_STACK) + len(_STACK)) & ~15) - 64)
"""For a process that shares our memory; there is one at a time."""


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


def unshare(flags: int) -> None:
    """New namespaces for this process (new pids only for its children); OSError where refused."""
    _check(_libc.unshare(flags), "unshare")
    if flags & NEW_MOUNTS:
        _check(_mount(b"none", b"/", None, _PRIVATE_RECURSIVE, None), "make mounts private")


def fork_into(flags: int) -> int:
    """Like `os.fork`, but the child is the first process of new namespaces; one call, not two
    forks.

    It does what glibc's fork does around clone(2): CLONE_CHILD_SETTID keeps the C library's own
    record of the thread's id right, which its locks compare. The caller's mounts must be private
    (see `unshare`): the child's are then too.
    """
    number, *tid = _clone_arguments()
    _python.PyOS_BeforeFork()
    pid: int = _clone(number, flags | _SIGCHLD | _SET_AND_CLEAR_TID, None, None, *tid)
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        _check(-1, "clone")
    return pid


@cache
def _clone_arguments() -> tuple[int, ctypes.c_void_p | None, ctypes.c_void_p | None]:
    """The number of clone and its last two arguments, whose order differs between machines.

    The address is that of the main thread's record and stays the same across forks.
    """
    address = ctypes.c_void_p()
    _check(_prctl(_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0), "prctl")
    number = _CLONE[machine()]
    return (number, address, None) if machine() == "x86_64" else (number, None, address)


def start_pid_namespace() -> int:
    """Start the first process of a new pid namespace, which only waits; our next children are
    born there until `return_to_own_pids`. Its number.

    To the first process of a namespace the kernel delivers no signal from inside that it has not
    asked for, not even SIGKILL from itself, so no program should be it. This one shares our
    memory, which spares a fork. Our signals must be blocked: otherwise our handlers would run
    there, in our memory, whenever a program asks.
    """
    pidfd = ctypes.c_int()
    _signal.signal(_SIGCHLD, _signal.SIG_IGN)  # so it need not collect orphans
    flags = _SHARED_MEMORY | _PIDFD | NEW_PIDS | _SIGCHLD
    pid: int = _python.clone(_libc.pause, _STACK_TOP, flags, None, ctypes.byref(pidfd))
    _signal.signal(_SIGCHLD, _signal.SIG_DFL)
    if pid < 0:
        _check(-1, "clone")
    result = _setns(pidfd.value, NEW_PIDS)
    os.close(pidfd.value)
    _check(result, "setns")
    return pid


def return_to_own_pids() -> None:
    """Our next children are born in our own pid namespace again."""
    _check(_setns(_own_pidfd(), NEW_PIDS), "setns")


@cache
def _own_pidfd() -> int:
    return os.pidfd_open(os.getpid())


def block_signals() -> None:
    """Until `admit_signals`, in a child, no signal but SIGKILL and SIGSTOP is delivered."""
    _signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def admit_signals() -> None:
    """Signals are delivered again, also those that our starter ignores (nohup, a shell's &)."""
    for number in _ENDING:
        if _signal.getsignal(number) == _signal.SIG_IGN:
            python_s_own = number == signal.SIGINT
            _signal.signal(number, _signal.default_int_handler if python_s_own else _signal.SIG_DFL)
    _signal.pthread_sigmask(signal.SIG_SETMASK, ())


def stack_pointer(pid: int, proc: int) -> int:
    """The stack pointer of the main thread of the waiting process `pid`, 0 if it runs;
    `proc` is an open /proc in whose namespace `pid` is its number."""
    fd = os.open(f"{pid}/syscall", os.O_RDONLY, dir_fd=proc)
    words = os.read(fd, 512).split()
    os.close(fd)
    return int(words[-2], 16) if len(words) > 2 else 0


def has_become_another(pid: int, proc: int) -> bool:
    """Whether the forked process `pid` has replaced itself by another program since; `proc` as
    above. The kernel keeps a flag for it that a program cannot set."""
    fd = os.open(f"{pid}/stat", os.O_RDONLY, dir_fd=proc)
    words = os.read(fd, 1024).rpartition(b")")[2].split()
    os.close(fd)
    return not int(words[6]) & _FORKED_NOT_REPLACED


def number_outside(pidfd: int, proc: int) -> int:
    """The number of a process in the namespace of `proc`, which may be another than ours."""
    fd = os.open(f"self/fdinfo/{pidfd}", os.O_RDONLY, dir_fd=proc)
    text = os.read(fd, 512)
    os.close(fd)
    return int(text.partition(b"\nPid:")[2].split()[0])


def mount_tmpfs(path: str, n_bytes: int, mode: str = "700") -> None:
    """An empty file system in memory over the folder `path`."""
    options = f"size={n_bytes},mode={mode}".encode()
    _check(_mount(b"tmpfs", path.encode(), b"tmpfs", _NOSUID_NODEV, options), f"mount {path}")


def mount_open(fd: int, path: str) -> None:
    """What the open folder `fd` holds at `path`, which is made; as read-only as it was. Closes
    `fd`."""
    os.makedirs(path, exist_ok=True)  # noqa: PTH103 - as in cell.py
    try:
        _check(_mount(f"/proc/self/fd/{fd}".encode(), path.encode(), None, _BIND, None), path)
    finally:
        os.close(fd)


def make_read_only(path: str) -> None:
    """Nothing at or below `path` can be written through it any more, whoever owns it; what was
    opened before still can."""
    where = path.encode()
    _check(_mount(where, where, None, _BIND | _RECURSIVE, None), f"bind {path}")
    flags = _REMOUNT | _BIND | _READ_ONLY | _NOSUID_NODEV | _NOEXEC
    _check(_mount(b"none", where, None, flags, None), f"make {path} read-only")


def leave_root(user: int) -> None:
    """Take the id `user` where we are another: the start inside has been as the host's root.

    For good: nothing but a capability, which no program in a cell holds, leads back.
    """
    if os.getuid() != user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _prctl(_SET_DUMPABLE, 1, 0, 0, 0)  # a change of ids takes our own /proc entries away


def become(argv: list[str], user: int) -> None:
    """Give up every right and turn into the program `argv`, which ends when our parent does."""
    leave_root(user)
    die_with_parent()
    keep_from_children()
    drop_capabilities()
    os.execv(argv[0], argv)


def die_with_parent() -> None:
    """SIGKILL for this process when the thread that forked it ends."""
    _prctl(_PDEATHSIG, 9, 0, 0, 0)


def adopt_orphans() -> None:
    """Grandchildren whose parent ends become children of this process."""
    _prctl(_SUBREAPER, 1, 0, 0, 0)


def keep_from_children() -> None:
    """No program that this process or its children start can gain a capability; its own stay."""
    _prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    _prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    for number in range(_LAST_CAPABILITY + 1):
        _prctl(_CAPBSET_DROP, number, 0, 0, 0)  # refused where there are none to drop


def drop_capabilities() -> None:
    """Give up every capability; for good after `keep_from_children`, also across exec."""
    _check(_capset(_HEADER, _NONE), "capset")


def install_filter(program: bytes) -> None:
    """Put this process and its children under a seccomp filter (see seccomp.py)."""
    _prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    filter_ = _Filter(len(program) // 8, program)
    _check(_prctl(_SECCOMP, _FILTER_MODE, ctypes.byref(filter_), 0, 0), "seccomp")


def machine() -> str:
    """The architecture's name, for example x86_64."""
    return os.uname().machine


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
