"""The stage replay: other code becomes tokens that adapting mixes in against forgetting.

Input: a repository, folder or archive, and the base's tokenizer. Output: an artefact of kind
"tokens", packed as the run's own are; it passes the licence gate, filters and redaction first.

Not here: how it is mixed in (train/run.py), and which code is worth replaying.
"""

from codling.core.artifact import Artifact
from codling.corpus.arrange import ArrangeConfig, arrange
from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import CleanConfig, CollectConfig
from codling.posttrain.config import ReplayConfig
from codling.tokens.config import PackConfig
from codling.tokens.pack import pack


def replay(config: ReplayConfig) -> Artifact:
    """Pack other code for `adapt --replay-dir`.

    Example:
        codling replay ~/src/other --tokenizer-dir runs/app/tokenizer --out-dir runs/app/replay
    """
    beside = config.out_dir.absolute().with_name(config.out_dir.name + ".sources")
    raw = collect(
        CollectConfig(
            sources=(config.path,),
            out_dir=beside / "raw",
            own=config.own,
            heldout_fraction=0.0,
            commit_times=False,
            workers=config.workers,
        )
    )
    documents = clean(
        CleanConfig(raw_dir=raw.path, out_dir=beside / "documents", workers=config.workers)
    )
    samples = arrange(
        ArrangeConfig(
            documents_dir=documents.path, out_dir=beside / "samples", workers=config.workers
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
