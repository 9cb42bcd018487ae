"""The outer isolation: the bubblewrap command line that starts the fork server in new namespaces.

Input: folders to show read-only, packages to preload. Output: argv and the file descriptors that
it needs. Inside there is a read-only system (/usr, the dynamic linker's and the toolchains'
settings), one Python, no network but an own loopback, no host file, no host
environment, a non-root user and host name "sandbox".

Not here: per-job isolation (inside/cell.py).
"""

import importlib.util
import os
import platform
import py_compile
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from codling.core.errors import ToolMissingError
from codling.sandbox.identity import USER, write_id_maps
from codling.sandbox.inside.seccomp import filter_bytes
from codling.sandbox.interpreter import Interpreter, own_interpreter
from codling.sandbox.launch import end, launch

_SYSTEM = ("/usr",)
_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/fonts",
    "/etc/R",
    "/etc/php",
    "/etc/mono",
    "/etc/racket",
    "/etc/ldc2.conf",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
)
_HERE_INSIDE = Path(__file__).parent / "inside"
INSIDE = "/opt/codling"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/work",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}


def find() -> str:
    """The path of bwrap; ToolMissingError with the cure where there is none."""
    path = shutil.which("bwrap")
    if path is None:
        raise ToolMissingError(
            "untrusted code needs bubblewrap: apt-get install bubblewrap "
            "(or --unsafe, which runs it with limits but without isolation)"
        )
    return path


def command(  # noqa: PLR0913 - three of them are descriptors
    program: Sequence[str],
    shown: Sequence[Path],
    *,
    filter_fd: int,
    told: int,
    wait: int,
    python: Interpreter | None = None,
) -> list[str]:
    """`program` in new namespaces; `shown` are host folders to see read-only at their own paths.

    `python` is the interpreter to show, our own if none is given. Bubblewrap writes to the
    descriptor `told` who runs inside (see `inner_pid`); the program is its namespace's first
    process. It waits at the descriptor `wait` until its ids are given (identity.py).
    """
    argv = [find(), "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-net"]
    argv += ["--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    argv += ["--uid", str(USER), "--gid", str(USER), "--hostname", "sandbox"]
    argv += ["--cap-add", "ALL", "--clearenv"]
    for name, value in ENVIRONMENT.items():
        argv += ["--setenv", name, value]
    argv += ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--dir", "/work"]
    python = python or own_interpreter()
    for folder in _parent_folders(
        [*python.folders, *_SETTINGS, *map(str, shown), f"{INSIDE}/inside"]
    ):
        argv += ["--dir", folder]
    for path in (*_SYSTEM, *python.folders):
        argv += ["--ro-bind", path, path]
    for path in _LINKS:
        if Path(path).is_symlink():
            argv += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            argv += ["--ro-bind", path, path]
    for path in (*_SETTINGS, *map(str, shown)):
        argv += ["--ro-bind-try", path, path]
    _compile_inside()
    argv += ["--ro-bind", str(_HERE_INSIDE), f"{INSIDE}/inside"]
    argv += ["--ro-bind", str(_HERE_INSIDE.with_name("runners")), f"{INSIDE}/runners"]
    argv += ["--ro-bind", str(_HERE_INSIDE.with_name("hosts.txt")), "/etc/hosts"]
    for path, inside in zip(python.packages, inside_folders(python), strict=True):
        argv += ["--ro-bind-try", path, inside]
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    argv += ["--as-pid-1", "--info-fd", str(told), "--userns-block-fd", str(wait)]
    return [*argv, "--seccomp", str(filter_fd), "--", *program]


def _parent_folders(paths: Sequence[str]) -> list[str]:
    """The folders that lead to `paths`, outermost first: made by name they are open to all,
    otherwise they would be as private as root's home."""
    folders = (folder for path in paths for folder in reversed(Path(path).parents))
    return [str(folder) for folder in dict.fromkeys(folders) if folder != Path("/")]


def argv_without_rights(argv: Sequence[str]) -> list[str]:
    """A program for `start` that gives up every right and then becomes `argv`."""
    source = (
        f"import sys; sys.path.insert(0, {INSIDE!r}); from inside.linux import become; "
        f"become({list(argv)!r}, {USER})"
    )
    return [own_interpreter().path, "-P", "-s", "-S", "-c", source]


@dataclass(frozen=True, kw_only=True)
class IsolatedProcess:
    """A process in namespaces of its own."""

    process: subprocess.Popen[bytes]
    """bubblewrap; it ends when the program does."""
    inner: int | None
    """The program, by its number outside; None if it did not start."""
    exposed: str
    """Why the program runs as the host's root, "" if it does not."""


def start(
    program: Sequence[str],
    shown: Sequence[Path],
    *,
    python: Interpreter | None = None,
    stderr: int = subprocess.PIPE,
) -> IsolatedProcess:
    """Start `program` in new namespaces, under an id that is not root's if there is one."""
    told, tell = os.pipe()
    wait, go = os.pipe()
    rules = filter_file()
    argv = command(program, shown, filter_fd=rules, told=tell, wait=wait, python=python)
    process = launch(argv, fds=(rules, tell, wait), env={}, stderr=stderr)
    try:
        inner = inner_pid(told)
        exposed = write_id_maps(inner) if inner is not None else ""
        with suppress(BrokenPipeError):  # it has ended already: its own message says why
            os.write(go, b"x")
    except OSError:
        end(process)
        raise
    finally:
        os.close(go)
    return IsolatedProcess(process=process, inner=inner, exposed=exposed)


def inner_pid(told: int) -> int | None:
    """The process inside, by its number outside; None if bubblewrap ended without one."""
    with open(told, "rb") as file:
        found = re.search(rb'"child-pid": (\d+)', file.read())
    return int(found[1]) if found else None


@cache
def _compile_inside() -> None:
    """Byte code for the server where it is absent or old: inside the sandbox nobody can write
    it."""
    for source in _HERE_INSIDE.glob("*.py"):
        target = Path(importlib.util.cache_from_source(str(source)))
        if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
            continue
        with suppress(OSError):  # an installation that only its owner may write: slower starts
            py_compile.compile(str(source), doraise=False, quiet=1)


def filter_file() -> int:
    """A descriptor with the filter of what starts inside, which may still make namespaces."""
    fd = os.memfd_create("seccomp", 0)
    os.write(fd, filter_bytes(platform.machine(), "server"))
    os.lseek(fd, 0, os.SEEK_SET)
    os.set_inheritable(fd, True)
    return fd


def inside_folders(python: Interpreter) -> list[str]:
    """Where installed packages are seen inside, in import order.

    Paths of our own, for those of the host may lie below a folder that every cell covers with an
    empty one, such as /tmp.
    """
    return [f"{INSIDE}/packages{i}" for i in range(len(python.packages))]
