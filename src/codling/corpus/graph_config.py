"""Settings of what looks across files: graph, arrange.

Input: recipes and flags, through core/recipe. Output: frozen configs. Fields that only say where
or how fast are marked `aside` and do not change an artefact's id.

Not here: the settings of collecting and cleaning (config.py).
"""

from dataclasses import dataclass
from pathlib import Path

from codling.core.recipe import aside
from codling.corpus.order import Order


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """What `codling data graph` prints."""

    path: Path = aside()
    """The repository's folder."""
    order: Order = "scc"
    """The order in which files are listed: `scc`, `paper` or `random`."""
    seed: int = 0
    """For the order `random`."""
    svg: Path | None = aside(None)
    """Also draw the graph into this file."""


@dataclass(frozen=True, kw_only=True)
class ArrangeConfig:
    """How the files of each repository become training samples."""

    documents_dir: Path = aside()
    """The artefact of kind "documents" to read."""
    out_dir: Path = aside()
    """Where the samples go."""
    order: Order = "scc"
    """`scc`: no edge outside cycles is violated; `paper`: Algorithm 1 as published; `random`."""
    max_chars: int = 4_000_000
    """A longer sample is cut, between files; a file longer than this is a sample of its own."""
    seed: int = 0
    """For the order `random`."""
    workers: int = aside(2)
    """Processes; the result is the same for any number."""
