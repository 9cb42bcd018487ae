"""What a sandboxed step may use. Not here: how it is enforced (inside/cell.py, cgroup.py)."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of one step; a step that reaches one fails for that reason."""

    wall_seconds: float = 10.0
    """Real time."""
    cpu_seconds: float = 20.0
    """Processor time of one process, rounded up to a whole second."""
    memory_bytes: int = 2048 * MIB
    """Address space of a Python program, writable private memory of any other; all of a box's
    processes and files together where a memory cgroup can be written."""
    processes: int = 128
    """Processes and threads at a time."""
    file_bytes: int = 64 * MIB
    """Size of one written file."""
    disk_bytes: int = 256 * MIB
    """Size of the work folder, which is memory."""
    open_files: int = 512
    output_bytes: int = MIB
    """What is kept of each of stdout and stderr; a step that writes 16 times more is killed."""
