"""Settings of the held-out scores and of the report. No torch here: the command line reads it."""

from dataclasses import dataclass
from pathlib import Path

from codling.core.recipe import aside


@dataclass(frozen=True, kw_only=True)
class HeldoutConfig:
    """Settings of `codling score`."""

    checkpoint_dir: Path = aside()
    """Checkpoint to score."""
    samples_dir: Path = aside()
    """Samples whose held-out part is asked about."""
    tokens_dir: Path = aside()
    """Packed tokens: the held-out stream, and the training stream for the baseline."""
    out_dir: Path = aside()
    """Folder of the scores."""
    max_tokens: int = 200_000
    """Held-out tokens that enter bits per byte, taken evenly over the stream."""
    n_lines: int = 200
    """Held-out lines that are hidden and asked for."""
    min_chars: int = 5
    """Shortest line that is asked for, without its indentation."""
    max_chars: int = 50
    """Longest line that is asked for, without its indentation."""
    max_new_tokens: int = 48
    """Tokens after which an insertion is cut."""
    ngram_order: int = 6
    """Longest n-gram of the baseline."""
    ngram_tokens: int = 4_000_000
    """Training tokens that the baseline counts."""
    batch: int = 16
    """Windows per model call, and insertions at a time."""
    seed: int = 0
    """Seed of the choice of lines."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Settings of `codling report`."""

    run_dir: Path = aside()
    """Folder of a run of `codling grow`."""
    out_dir: Path = aside()
    """Folder of the report."""
    n_examples: int = 10
    """Insertions shown in full."""
