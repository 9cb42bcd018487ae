"""Who untrusted code is to the host: never its root.

Input: a process that waits in a new user namespace. Output: that namespace's maps of user and
group ids, or the reason why there are none.

An ordinary user's code runs as that user. Root's code would run as the host's root, who may write
the kernel's settings however few capabilities are left. So root gives it an unused id, and
its own id a second name inside, for the start only: the server must still read root's folders
while it sets up its isolation, then it takes the other id (inside/linux.py), and no program in a
cell holds the capability to change back.

Not here: the isolation (bubblewrap.py).
"""

import os
import re
from pathlib import Path

USER = 1000
"""The id that programs see themselves as."""
BUILDER = 2000
"""The host's root as the starting server sees it; not 0, for changing from 0 to another id would
cost the capabilities."""
NOBODY = 65534


def write_id_maps(pid: int) -> str:
    """Write the id maps of the waiting process `pid`; why its programs will be the host's root,
    "" if they will not."""
    reason = ""
    if os.geteuid() == 0:
        try:
            return _write_second_id(pid)
        except OSError as error:
            reason = f"root may not give an id to a process ({error.strerror})"
    Path(f"/proc/{pid}/setgroups").write_text("deny")
    _write(pid, "gid", f"{USER} {os.getegid()} 1\n")
    _write(pid, "uid", f"{USER} {os.geteuid()} 1\n")
    return reason


def _write_second_id(pid: int) -> str:
    maps = {kind: Path(f"/proc/self/{kind}_map").read_text() for kind in ("gid", "uid")}
    others = {kind: find_unprivileged_id(text) for kind, text in maps.items()}
    for kind, other in others.items():
        pair = f"{USER} {other} 1\n{BUILDER} 0 1\n"
        _write(pid, kind, f"{USER} 0 1\n" if None in others.values() else pair)
    roots = [line.split()[:2] for line in maps["uid"].splitlines()]
    if None not in others.values() or all(outside != "0" for _, outside in roots):
        return ""  # or a root whose name only we use, in a user namespace of one
    return "root has no second user id here"


def _write(pid: int, kind: str, text: str) -> None:
    Path(f"/proc/{pid}/{kind}_map").write_text(text)


def find_unprivileged_id(id_map: str) -> int | None:
    """An id that is not root's and that we may give away, from a map of /proc/self.

    >>> find_unprivileged_id("0 100000 1000")
    999
    """
    ranges = [tuple(map(int, re.findall(r"\d+", line))) for line in id_map.splitlines()]
    ids = [(first, first + length - 1) for first, _, length in ranges]
    if any(first <= NOBODY <= last for first, last in ids):
        return NOBODY
    return max((last for _, last in ids if last > 0), default=None)
