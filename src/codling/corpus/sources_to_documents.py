"""From sources to documents in one call: collect, then clean.

For stages that learn from or look up code outside a run of `grow`. Not here: the two stages.
"""

from codling.core.artifact import Artifact
from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import CleanConfig, CollectConfig


def make_documents(config: CollectConfig) -> Artifact:
    """The clean documents of `config.sources`, in the folder "documents" beside the raw ones."""
    raw = collect(config)
    return clean(
        CleanConfig(
            raw_dir=raw.path,
            out_dir=raw.path.with_name("documents"),
            workers=config.workers,
            ray=config.ray,
        )
    )
