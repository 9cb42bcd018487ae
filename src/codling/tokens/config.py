"""The settings of the two stages of tokens: learn_tokenizer and pack. No torch.

Not here: what the stages do with them (bpe.py, pack.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codling.core.errors import ConfigError
from codling.core.recipe import aside

FimLevel = Literal["auto", "document", "chunk"]


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Settings of learn_tokenizer."""

    samples_dir: Path = aside(Path("runs/samples"))
    """Artefact of kind "samples" to learn from; only its training split is read."""
    out_dir: Path = aside(Path("runs/tokenizer"))
    """Where the tokenizer goes."""
    vocab_size: int = 4096
    """Tokens in all, the nine special ones included."""
    sample_bytes: int = 32_000_000
    """About this much text is looked at, drawn evenly from the whole training split."""
    seed: int = 0
    """Decides which pieces of text are drawn."""

    def __post_init__(self) -> None:
        if self.vocab_size < 256 + 9:
            raise ConfigError(
                f"learn_tokenizer: vocab_size is {self.vocab_size}, but 256 bytes and 9 special "
                "tokens need at least 265"
            )
        if self.sample_bytes < 1:
            raise ConfigError("learn_tokenizer: sample_bytes must be positive")


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """Settings of pack."""

    samples_dir: Path = aside(Path("runs/samples"))
    """Artefact of kind "samples"."""
    tokenizer_dir: Path = aside(Path("runs/tokenizer"))
    """Artefact of kind "tokenizer", or the folder of a published tokenizer."""
    out_dir: Path = aside(Path("runs/tokens"))
    """Where the token streams go."""
    context: int = 512
    """Tokens that the model sees at once; decides what `fim_level` auto means."""
    fim_rate: float = 0.5
    """Share of the pieces of training text that become insertion tasks; the held-out text never
    does."""
    fim_spm_share: float = 0.5
    """Share of the insertion tasks that show the suffix first (SPM) instead of the prefix (PSM).
    From one half on the model is asked in SPM. DeepSeek-Coder: 0."""
    fim_line_share: float = 0.5
    """Share of the insertion tasks whose hole is one line without its indentation; the others are
    cut between any two characters. DeepSeek-Coder: 0."""
    fim_level: FimLevel = "auto"
    """"document": whole samples are transformed before packing, as DeepSeek-Coder did. "chunk":
    every window of `context` tokens on its own, so that no window cuts a task. "auto": chunk up to
    1024, else document."""
    seed: int = 0
    """Decides which pieces become insertion tasks, and where their holes are."""
    workers: int = aside(0)
    """Processes that encode; 0: one, whose threads use every core."""

    def __post_init__(self) -> None:
        for name in ("fim_rate", "fim_spm_share", "fim_line_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"pack: {name} is {getattr(self, name)}; choose from 0 to 1")
        if self.context < 16:
            raise ConfigError(f"pack: context is {self.context}; 16 tokens are the least")

    @property
    def fim_unit(self) -> Literal["document", "chunk"]:
        """The level that `fim_level` means at this context."""
        if self.fim_level == "auto":
            return "chunk" if self.context <= 1024 else "document"
        return self.fim_level
