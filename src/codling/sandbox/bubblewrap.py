"""The outer walls: the bubblewrap command line that starts the fork server in new namespaces.

Input: folders to show read-only, packages to preload. Output: argv and the file descriptors that
it needs. Inside there is a read-only system (/usr, the dynamic linker's and the toolchains'
settings), the Python that runs us, no network but an own loopback, no host file, no host
environment, a non-root user and host name "sandbox".

Not here: per-job isolation (inside/cell.py).
"""

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from codling.core.errors import ToolMissingError
from codling.sandbox.inside.seccomp import filter_bytes

USER = "1000"
_SYSTEM = ("/usr",)
_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/R",
    "/etc/php",
    "/etc/mono",
    "/etc/racket",
    "/etc/ldc2.conf",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
)
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
            "(or --unsafe, which runs it with limits but without walls)"
        )
    return path


def command(program: Sequence[str], shown: Sequence[Path], filter_fd: int) -> list[str]:
    """`program` inside the walls; `shown` are host folders to see read-only at their own paths."""
    argv = [find(), "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-net"]
    argv += ["--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    argv += [
        "--uid",
        USER,
        "--gid",
        USER,
        "--hostname",
        "sandbox",
        "--cap-add",
        "ALL",
        "--clearenv",
    ]
    for name, value in ENVIRONMENT.items():
        argv += ["--setenv", name, value]
    for path in (*_SYSTEM, *map(str, python_folders())):
        argv += ["--ro-bind", path, path]
    for path in _LINKS:
        if Path(path).is_symlink():
            argv += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            argv += ["--ro-bind", path, path]
    for path in (*_SETTINGS, *map(str, shown)):
        argv += ["--ro-bind-try", path, path]
    argv += ["--ro-bind", str(Path(__file__).parent / "inside"), f"{INSIDE}/inside"]
    for path, inside in zip(site_folders(unsafe=True), site_folders(), strict=True):
        argv += ["--ro-bind-try", path, inside]
    argv += ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--dir", "/work"]
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    return [*argv, "--seccomp", str(filter_fd), "--", *program]


def filter_file() -> int:
    """A descriptor with the filter of the server itself, which may still make namespaces."""
    fd = os.memfd_create("seccomp", 0)
    os.write(fd, filter_bytes(platform.machine(), namespaces=True))
    os.lseek(fd, 0, os.SEEK_SET)
    os.set_inheritable(fd, True)
    return fd


def python_path() -> str:
    """The interpreter that runs us, past the links of a virtual environment."""
    return str(Path(sys.executable).resolve())


def python_folders() -> list[Path]:
    """The folders of the interpreter itself, outside /usr."""
    base = Path(sys.base_prefix).resolve()
    return [] if base == Path("/usr") else [base]


def site_folders(*, unsafe: bool = False) -> list[str]:
    """Where installed packages lie, in import order: as seen inside, or (unsafe) on the host.

    Inside they have paths of our own, for those of the host may lie below a folder that every cell
    covers with an empty one, such as /tmp.
    """
    paths = sysconfig.get_paths()
    folders = list(dict.fromkeys((paths["purelib"], paths["platlib"])))
    return folders if unsafe else [f"{INSIDE}/packages{i}" for i in range(len(folders))]
