"""Code from folders and repositories becomes training samples, stage by stage.

python examples/data.py runs/mine ~/src/app ~/src/lib
"""

import sys
from pathlib import Path

from codling.core.artifact import Artifact
from codling.corpus.arrange import ArrangeConfig, arrange
from codling.corpus.clean import clean
from codling.corpus.collect import collect
from codling.corpus.config import CleanConfig, CollectConfig
from codling.corpus.dedup import DedupConfig, dedup


def make_samples(run_dir: Path, sources: list[Path]) -> Artifact:
    """Each stage writes a folder and skips it the next time; `own=True` declares the code yours."""
    collect(CollectConfig(sources=tuple(sources), out_dir=run_dir / "raw", own=True))
    clean(CleanConfig(raw_dir=run_dir / "raw", out_dir=run_dir / "documents"))
    dedup(DedupConfig(documents_dir=run_dir / "documents", out_dir=run_dir / "unique"))
    return arrange(ArrangeConfig(documents_dir=run_dir / "unique", out_dir=run_dir / "samples"))


if __name__ == "__main__":
    run_dir, *sources = map(Path, sys.argv[1:])
    samples = make_samples(run_dir, sources)
    print(f"{samples.path}: {samples.counts}")
