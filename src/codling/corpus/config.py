"""Settings of the stages collect and clean. No torch and no tables here: the command line reads it.

Thresholds that are left at None come from the profile (corpus/filters/profiles.py).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from codling.core.errors import ConfigError
from codling.core.ranges import Count, ProperShare, Range, Seed
from codling.core.recipe import aside
from codling.core.shards import Parallel
from codling.corpus.filters.profiles import FilterConfig
from codling.corpus.licenses.notices import LicenseConfig
from codling.corpus.redaction.redact import RedactConfig

HeldoutBy = Literal["package", "file-time", "repository-time", "commits"]
MAX_DOCUMENT_BYTES = 32_000_000
"""A worker holds a document about five times (as bytes, text, Arrow, Parquet and compressed)."""


@dataclass(frozen=True, kw_only=True)
class CollectConfig(Parallel):
    """Settings of `codling data collect`."""

    sources: tuple[Path, ...] = aside(())
    """Git repositories (also bare), folders, .tar.gz/.tar/.zip/.whl archives; by default
    the running interpreter's standard library."""
    out_dir: Path = aside()
    """Folder of the artefact "raw"."""
    own: bool = False
    """Declare that you may train on files without any licence notice (LicenseRef-own)."""
    heldout_fraction: ProperShare = 0.05
    """Share of each repository's code that is kept from training, in whole packages."""
    heldout_by: HeldoutBy = "package"
    """What is kept from training: whole packages by hash, by commit time the newest files or
    repositories, or what the last tenth of the commits brought. With commits, the files are those
    of the tree before, of which whole packages are kept for validation."""
    at: str | None = None
    """With heldout_by commits: the commit whose tree is learned from; by default the one that
    leaves a tenth of the commits, at least 50, for later."""
    heldout_since: str | None = None
    """With a split by time: the moment (2025-06-30, or with time of day) since which it is held
    out; by default the one that gives that share of all dated code."""
    skip_refused: bool = aside(False)
    """Go on without archives that are damaged, empty or unsafe; the table of dropped files has them
    under the rule refused-archive."""
    columns: tuple[str, ...] = ()
    """Columns of Parquet and JSONL corpora that have other names, as content=body."""
    commit_times: bool = True
    """Read from git when each file was last changed (column changed_at)."""
    seed: Seed = 0
    """Seed of the choice of held-out packages."""
    languages: Literal["deepseek-coder", "coder-v2"] = "deepseek-coder"
    """Languages that are recognised: the 89 of DeepSeek-Coder or the 338 of DeepSeek-Coder-V2."""
    max_file_bytes: Annotated[
        int, Range(1, MAX_DOCUMENT_BYTES, why="every stage keeps within 1 GB of memory")
    ] = 1_000_000
    """Larger files are dropped without being read; at most 32,000,000."""
    shard_bytes: Count = 16_000_000
    """Source bytes per shard of work."""

    @property
    def extended(self) -> bool:
        """Whether the languages are those of DeepSeek-Coder-V2."""
        return self.languages == "coder-v2"

    @property
    def heldout_moment(self) -> int | None:
        """`heldout_since` in Unix seconds; without a zone it is UTC."""
        if self.heldout_since is None:
            return None
        try:
            moment = datetime.fromisoformat(self.heldout_since)
        except ValueError:
            raise ConfigError(
                f"heldout_since is {self.heldout_since!r}; write it like 2025-06-30"
            ) from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())

    def __post_init__(self) -> None:
        """Raise ConfigError for a setting that cannot work."""
        super().__post_init__()
        if self.heldout_moment is not None and self.heldout_by in ("package", "commits"):
            raise ConfigError("heldout_since needs heldout_by file-time or repository-time")
        if self.at is not None and (self.heldout_by != "commits" or len(self.sources) != 1):
            raise ConfigError("at names a commit: it needs heldout_by commits and one repository")
        if self.heldout_by not in ("package", "commits") and not self.commit_times:
            raise ConfigError(f"heldout_by {self.heldout_by} needs commit_times")


@dataclass(frozen=True, kw_only=True)
class CleanConfig(Parallel):
    """Settings of `codling data clean`."""

    raw_dir: Path = aside()
    """Artefact "raw" to clean."""
    out_dir: Path = aside()
    """Folder of the artefact "documents"."""
    licenses: LicenseConfig = field(default_factory=LicenseConfig)
    filters: FilterConfig = field(default_factory=FilterConfig)
    redact: RedactConfig = field(default_factory=RedactConfig)
