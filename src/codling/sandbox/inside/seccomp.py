"""A system-call filter as classic BPF, for seccomp: what a program in the sandbox may never ask
of the kernel.

Input: the machine's architecture. Output: the bytes of a `sock_filter` array, as `bwrap
--seccomp` and `prctl(PR_SET_SECCOMP)` take them. A refused call fails with EPERM; `clone3` fails
with ENOSYS, so that the C library falls back on `clone`, whose flags a filter can read; a call of
a foreign architecture kills.

Not here: a list of what is allowed. Ten language runtimes would need nearly everything else;
files, network and processes are isolated by the namespaces, and this filter closes the ways to
leave or widen them. Numbers: the kernel's syscall tables (x86_64, aarch64).
"""

import struct
from typing import Literal

Part = Literal["all", "server", "cell"]
Instruction = tuple[int, int, int, int]

_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED = {
    # name: (x86_64, aarch64)
    "ptrace": (101, 117),
    "syslog": (103, 116),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "mount": (165, 40),
    "umount2": (166, 39),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "quotactl": (179, 60),
    "clock_settime": (227, 112),
    "kexec_load": (246, 104),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "move_pages": (279, 239),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "finit_module": (313, 273),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "mount_setattr": (442, 442),
}
_OF_SERVER = {"mount", "umount2", "unshare", "setns", "chroot"}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_SOCKET = {"x86_64": (41, 53), "aarch64": (198, 199)}
"""socket, socketpair"""
_IOCTL = {"x86_64": 16, "aarch64": 29}
_FAMILIES = (1, 2, 10, 16)
"""Unix, IPv4, IPv6 and netlink (name lookup asks it): all inside an empty network namespace.
Most important is to refuse AF_VSOCK, which network namespaces do not isolate."""
_TERMINAL_IOCTLS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into a terminal that is not ours."""
_NEW_NAMESPACE = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""

_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_ABOVE, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x00050001, 0x00050026
_NUMBER, _MACHINE, _ARGUMENT_0, _ARGUMENT_1 = 0, 4, 16, 24


def filter_bytes(machine: str, part: Part = "all") -> bytes:
    """The filter for `machine` (as `platform.machine()` says it); ValueError for an unknown one.

    Filters add up, so it comes in two parts: "server" leaves out the calls that the sandbox's own
    server needs to set up its cells, and "cell" is only those, for the server's children.
    """
    if machine not in _ARCH:
        raise ValueError(f"no system-call table for {machine}")
    column = 0 if machine == "x86_64" else 1
    program: list[Instruction] = [
        (_LOAD, 0, 0, _MACHINE),
        (_JUMP_EQUAL, 1, 0, _ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":  # the x32 calls: the same kernel entry with bit 30 set
        program += [(_JUMP_ABOVE, 0, 1, 0x40000000), (_RETURN, 0, 0, _EPERM)]
    for name, numbers in _REFUSED.items():
        if part == "all" or (name in _OF_SERVER) == (part == "cell"):
            program += [(_JUMP_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _EPERM)]
    if part != "server":
        program += _when(_CLONE[machine], _ARGUMENT_0, [(_JUMP_SET, 0, 1, _NEW_NAMESPACE)])
    if part != "cell":
        program += _for_everybody(machine)
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *each) for each in program)


def _for_everybody(machine: str) -> list[Instruction]:
    program = [(_JUMP_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ENOSYS)]
    for number in _SOCKET[machine]:
        program += _unless(number, _ARGUMENT_0, _FAMILIES)
    for request in _TERMINAL_IOCTLS:
        program += _when(_IOCTL[machine], _ARGUMENT_1, [(_JUMP_EQUAL, 0, 1, request)])
    return program


def _when(number: int, argument: int, test: list[Instruction]) -> list[Instruction]:
    """Refuse call `number` if `test` of its argument holds; leaves the number loaded again."""
    body = [(_LOAD, 0, 0, argument), *test, (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, _NUMBER)]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]


def _unless(number: int, argument: int, allowed: tuple[int, ...]) -> list[Instruction]:
    """Refuse call `number` unless its argument is one of `allowed`."""
    tests = [(_JUMP_EQUAL, len(allowed) - i, 0, value) for i, value in enumerate(allowed)]
    body = [(_LOAD, 0, 0, argument), *tests, (_RETURN, 0, 0, _EPERM), (_LOAD, 0, 0, _NUMBER)]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]
