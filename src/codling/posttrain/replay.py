"""The stage replay: other code becomes tokens that adapting mixes in against forgetting.

Input: a repository, folder or archive, and the base's tokenizer. Output: an artefact of kind
"tokens", packed as the run's own are; it passes the licence gate, filters and redaction first.

Not here: how it is mixed in (train/run.py), and which code is worth replaying.
"""

from dataclasses import dataclass
from pathlib import Path

from codling.core.artifact import Artifact
from codling.core.ranges import Context, Seed, Share
from codling.core.recipe import aside
from codling.core.shards import Parallel
from codling.corpus.arrange import ArrangeConfig, arrange
from codling.corpus.config import CollectConfig
from codling.corpus.sources_to_documents import make_documents
from codling.tokens.pack import FimLevel, PackConfig, pack


@dataclass(frozen=True, kw_only=True)
class ReplayConfig(Parallel):
    """Settings of replay: those of pack, for other code."""

    path: Path = aside()
    """A repository, folder or archive of other code."""
    tokenizer_dir: Path = aside(Path("runs/tokenizer"))
    """The base's own tokenizer (codling adopt)."""
    out_dir: Path = aside(Path("runs/replay"))
    """Where the token streams go."""
    own: bool = False
    """The code is yours: files without any licence are replayed too."""
    context: Context = PackConfig.context
    """Tokens that the model sees at once."""
    fim_rate: Share = PackConfig.fim_rate
    """Share of the pieces that become insertion tasks."""
    fim_spm_share: Share = PackConfig.fim_spm_share
    """Share of the insertion tasks that show the suffix first."""
    fim_line_share: Share = PackConfig.fim_line_share
    """Share of the insertion tasks whose hole is one line."""
    fim_level: FimLevel = PackConfig.fim_level
    """Whether whole samples or single windows become insertion tasks."""
    seed: Seed = 0
    """Decides which pieces become insertion tasks, and where their holes are."""


def replay(config: ReplayConfig) -> Artifact:
    """Pack other code for `adapt --replay-dir`.

    Example:
        codling replay ~/src/other --tokenizer-dir runs/app/tokenizer --out-dir runs/app/replay
    """
    beside = config.out_dir.absolute().with_name(config.out_dir.name + ".sources")
    documents = make_documents(
        CollectConfig(
            sources=(config.path,),
            out_dir=beside / "raw",
            own=config.own,
            heldout_fraction=0.0,
            commit_times=False,
            workers=config.workers,
            ray=config.ray,
        )
    )
    samples = arrange(
        ArrangeConfig(
            documents_dir=documents.path,
            out_dir=beside / "samples",
            workers=config.workers,
            ray=config.ray,
        )
    )
    return pack(
        PackConfig(
            samples_dir=samples.path,
            tokenizer_dir=config.tokenizer_dir,
            out_dir=config.out_dir,
            context=config.context,
            fim_rate=config.fim_rate,
            fim_spm_share=config.fim_spm_share,
            fim_line_share=config.fim_line_share,
            fim_level=config.fim_level,
            seed=config.seed,
        )
    )
