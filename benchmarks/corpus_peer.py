"""datatrove's MinHash pipeline over FOLDER/in/*.parquet, two workers; run by corpus_dedup.py.

Input: a folder. Output: FOLDER/out. Needs an environment with `datatrove[processing]`.
"""

import sys

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig


def main() -> None:
    """Signatures, buckets, clusters, filter."""
    folder = sys.argv[1]
    config = MinhashConfig(
        hash_config=HashConfig(precision=64), num_buckets=14, hashes_per_bucket=8, n_grams=5
    )
    reader = ParquetReader(f"{folder}/in", text_key="content", id_key="sha256")
    stages = [
        (2, [reader, MinhashDedupSignature(f"{folder}/signatures", config=config)]),
        (14, [MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)]),
        (1, [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=config)]),
        (2, [reader, MinhashDedupFilter(f"{folder}/remove"), ParquetWriter(f"{folder}/out")]),
    ]
    for i, (tasks, pipeline) in enumerate(stages):
        LocalPipelineExecutor(
            pipeline=pipeline, tasks=tasks, workers=2, logging_dir=f"{folder}/logs{i}"
        ).run()


if __name__ == "__main__":
    main()
