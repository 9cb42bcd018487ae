"""The settings of the verb `info`. No torch."""

from dataclasses import dataclass

from codling.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Settings of `codling info`."""

    model: str
    """Name of a preset, such as coder-6.7b, or a run's folder, a checkpoint's, a .gguf file, or
    ORGANISATION/MODEL on the hub."""
    context: int = 4096
    """Tokens before the one whose arithmetic is counted."""

    verify: bool = False
    """Read every file of the checkpoint: compare it with its manifest, look at all weights."""

    def __post_init__(self) -> None:
        if self.context < 0:
            raise ConfigError(f"info: context is {self.context}, but must not be negative")
