"""Settings of `codling run-untrusted`. No limits of benchmarks here: their tasks set them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class UntrustedConfig:
    """One Python file to run behind walls."""

    file: Path
    """Python file that nobody vouches for."""
    seconds: float = 10.0
    """Real time and processor time that it may take."""
    memory_mib: int = 2048
    """Memory that it may take, in MiB."""
    unsafe: bool = False
    """Run it without bubblewrap: it can then read and change whatever you can."""
