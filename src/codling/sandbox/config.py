"""Settings of `codling run-untrusted`. No limits of benchmarks here: their tasks set them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class UntrustedConfig:
    """One file to run behind walls."""

    file: Path
    """Source file that nobody vouches for; its name says the language."""
    language: str = ""
    """Language if neither name nor first line says it: python, sh, js, cpp ..."""
    seconds: float = 10.0
    """Real time and processor time that it may take."""
    memory_mib: int = 2048
    """Memory that it may take, in MiB."""
    unsafe: bool = False
    """Run it without bubblewrap: it can then read and change whatever you can."""
