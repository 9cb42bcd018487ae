"""The settings of the verbs that generate text: complete, insert and chat. No torch.

Not here: what a request may ask of the engine (request.py), and the server's settings (serve/).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from codling.core.errors import ConfigError
from codling.core.recipe import aside

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
"""How weights are held; "auto" is float32 on the CPU and bfloat16 on a GPU, float16 is for GPUs
that know no bfloat16."""
FORMER_NAMES = {"dtype": "precision", "context": "max_length"}
"""Former names of settings that several verbs share, and what they are called now."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """What all verbs that generate text share."""

    RENAMED: ClassVar[Mapping[str, str]] = FORMER_NAMES

    model: Path
    """A run's folder, a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    max_tokens: int = 128
    """Tokens to generate at most."""
    temperature: float = 0.0
    """0 takes the likeliest token; 1 samples from the model's distribution."""
    top_p: float = 1.0
    """Sample from the likeliest tokens that together have this probability."""
    top_k: int = 0
    """Sample from this many likeliest tokens; 0 means all."""
    seed: int | None = None
    """The same seed gives the same text, alone or in any batch (float32 on the CPU)."""
    stop: tuple[str, ...] = ()
    """Strings before which the text ends."""
    precision: Precision = "auto"
    """How weights are held: float32 is exact; bfloat16 and int8 are smaller and faster on CPU."""
    max_length: int | None = aside(None)
    """Tokens of prompt and completion at most; by default the model's context."""
    adapter: Path | None = None
    """Adapter (codling adapt, or peft's LoRA) that is added to the model's weights."""
    memory: Path | None = None
    """Memory of a repository (codling memory) that completions and insertions may repeat."""
    threads: int | None = aside(None)
    """CPU threads; by default torch decides."""


@dataclass(frozen=True, kw_only=True)
class CompleteConfig(GenerateConfig):
    """Settings of complete: a prompt, or a place in a file."""

    prompt: str | None = None
    """Text to continue; - reads it from standard input."""
    file: Path | None = None
    """File to continue at the cursor, in place of a prompt."""
    line: int | None = None
    """Line of the cursor, from 1; by default the end of the file."""
    column: int | None = None
    """Characters before the cursor in its line; by default the end of the line."""
    repo: Path | None = None
    """Repository of the file: the files that it depends on go before it in the prompt."""
    lines: int | None = None
    """End after this many lines."""

    def __post_init__(self) -> None:
        if (self.prompt is None) == (self.file is None):
            raise ConfigError("complete needs either --prompt TEXT or --file PATH")
        _check_cursor(self.file, self.line, self.column, self.repo, self.lines)


@dataclass(frozen=True, kw_only=True)
class InsertConfig(GenerateConfig):
    """Settings of insert: a place in a file, or a prefix and a suffix."""

    file: Path | None = None
    """File with the cursor."""
    line: int | None = None
    """Line of the cursor, from 1; by default the end of the file."""
    column: int | None = None
    """Characters before the cursor in its line; by default the end of the line."""
    repo: Path | None = None
    """Repository of the file: the files that it depends on go before it in the prompt."""
    prefix: str | None = None
    """Text before the hole, in place of a file."""
    suffix: str = ""
    """Text after the hole, in place of a file."""
    lines: int | None = None
    """End after this many lines."""

    def __post_init__(self) -> None:
        if (self.prefix is None) == (self.file is None):
            raise ConfigError("insert needs either --file PATH or --prefix TEXT --suffix TEXT")
        _check_cursor(self.file, self.line, self.column, self.repo, self.lines)


@dataclass(frozen=True, kw_only=True)
class ChatConfig(GenerateConfig):
    """Settings of chat: one message, or a conversation line by line from standard input."""

    message: str | None = None
    """What to say; by default one message per line is read from standard input and answered."""
    system: str | None = None
    """System message; by default the model's own."""
    chat_template: str | None = None
    """Chat template by name (chatml, coder-v1, codling, v2, or one of several that the checkpoint
    has), or a file; by default the checkpoint's own."""
    max_tokens: int = 512
    """Tokens per answer at most."""


def _check_cursor(
    file: Path | None, line: int | None, column: int | None, repo: Path | None, lines: int | None
) -> None:
    for name, value in (("line", line), ("column", column), ("repo", repo)):
        if value is not None and file is None:
            raise ConfigError(f"--{name} needs --file")
    if column is not None and line is None:
        raise ConfigError("--column needs --line")
    if lines is not None and lines < 1:
        raise ConfigError("--lines must be at least 1")
