"""The mixture: several corpora drawn by shares of tokens: 87% code, 10% English, 3% Chinese.

Input: artefacts of kind "samples", each with a share. Output: one artefact of kind "samples" in
which the training tokens stand in these shares. A part that is too small is repeated, up to a
limit; a part that is too large is subsampled by a hash of seed and sample, so the choice is the
same for any number of shards, and a larger total contains the smaller one. Held-out samples pass
once.

Not here: what order the tokens are trained in (tokens/dataset.py shuffles windows).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from codling.core.artifact import Artifact, Input, open_artifact
from codling.core.errors import ConfigError
from codling.core.inputs import source_input, tokenizer_file
from codling.core.ranges import Count, Range, Seed
from codling.core.recipe import aside
from codling.core.shards import Parallel, Shard, map_shards
from codling.core.stage import Work, stage
from codling.corpus.tables.schemas import SAMPLE_SCHEMA

BYTES_PER_TOKEN = 3.2
"""Where no tokenizer counts: what DeepSeek-Coder's reaches on Python."""


@dataclass(frozen=True, kw_only=True)
class MixConfig(Parallel):
    """Settings of `codling data mix`."""

    parts: tuple[str, ...]
    """What is mixed, as SAMPLES_DIR=SHARE; shares are relative: 87, 10 and 3, or 0.87, 0.1 and
    0.03."""
    out_dir: Path = aside()
    """Folder of the mixed samples."""
    tokenizer_dir: Path | None = aside(None)
    """Counts the tokens; without it, 3.2 bytes are taken for one."""
    total_tokens: Count | None = None
    """Training tokens of the mixture; by default as many as the repetition limit allows."""
    max_repeats: Annotated[float, Range(1, 1e6)] = 4.0
    """How often one sample may be seen at most (arXiv:2305.16264 finds 4 about as good as new)."""
    seed: Seed = 0
    """Decides which samples a part that is too large gives."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise ConfigError("mix: name at least one part, as SAMPLES_DIR=SHARE")


@dataclass(frozen=True)
class Part:
    """One corpus of the mixture."""

    samples: Artifact
    share: float
    n_tokens: int


@dataclass(frozen=True)
class MixTask:
    """One Parquet file of one part: how often each of its samples is taken."""

    path: str
    repeats: float
    seed: int
    ratio: float
    """Tokens per byte of the part, for the counts."""


@stage("samples", version=1)
def mix(config: MixConfig) -> Work:
    """Draw several corpora into one, by shares of tokens.

    Raises ConfigError if the shares cannot be read, or if `total_tokens` needs more repetition
    than `max_repeats` allows.

    Example:
        codling data mix runs/code/samples=87 runs/english/samples=10 runs/chinese/samples=3 \
--out-dir runs/mixed/samples
    """
    named = [_parse_part(part) for part in config.parts]
    tokenizer = _tokenizer_file(config.tokenizer_dir)
    inputs: list[Artifact | Input] = [samples for samples, _ in named]
    if tokenizer is not None:
        inputs.append(source_input(tokenizer))
    draft = yield inputs
    parts = [Part(samples, share, count_tokens(samples, tokenizer)) for samples, share in named]
    repeats = plan(
        [p.n_tokens for p in parts],
        [p.share for p in parts],
        config.total_tokens,
        config.max_repeats,
    )
    tasks = list(_tasks(parts, repeats, config.seed))
    draft.counts |= map_shards(draft, tasks, _mix_shard, config, label="mix")
    draft.counts["repeats"] = {
        _folder(part): round(r, 4) for part, r in zip(config.parts, repeats, strict=True)
    }


def plan(
    n_tokens: Sequence[int], shares: Sequence[float], total: int | None, max_repeats: float
) -> list[float]:
    """How often each part is taken, so that its tokens are its share of the whole.

    >>> plan([1000, 50, 100], [80, 10, 10], None, 4.0)
    [1.6, 4.0, 2.0]
    """
    if any(n == 0 and share > 0 for n, share in zip(n_tokens, shares, strict=True)):
        raise ConfigError("mix: a part has no training tokens; leave it out or add sources to it")
    whole = sum(shares)
    fractions = [share / whole for share in shares]
    limits = [
        max_repeats * n / f if f > 0 else float("inf")
        for n, f in zip(n_tokens, fractions, strict=True)
    ]
    possible = min(limits)
    if total is not None and total > possible:
        scarce = limits.index(possible)
        raise ConfigError(
            f"mix: {total:,} tokens would repeat part {scarce + 1} more than {max_repeats:g} "
            f"times; {int(possible):,} tokens are possible, or raise max_repeats"
        )
    wanted = possible if total is None else total
    return [f * wanted / n if n else 0.0 for f, n in zip(fractions, n_tokens, strict=True)]


def count_tokens(samples: Artifact, tokenizer: Path | None) -> int:
    """Training tokens of a part."""
    core = Tokenizer.from_file(str(tokenizer)) if tokenizer else None
    total = 0.0
    for path in samples.files("samples-*.parquet"):
        for batch in _batches(path, ["split", "content"]):
            texts = [r["content"] for r in batch if r["split"] == "train"]
            if core is None:
                total += sum(len(t.encode()) for t in texts) / BYTES_PER_TOKEN
            else:
                encoded = core.encode_batch_fast(texts, add_special_tokens=False)
                total += sum(len(e.ids) for e in encoded)
    return round(total)


def count_copies(sample_id: str, repeats: float, seed: int) -> int:
    """How often one sample is taken: the whole part of `repeats`, and once more by its own draw."""
    digest = hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    whole = int(repeats)
    return whole + (draw < repeats - whole)


def _mix_shard(task: MixTask, shard: Shard) -> dict[str, int]:
    counts = {"samples": 0, "train_samples": 0, "train_tokens": 0}
    with pq.ParquetWriter(shard.path("samples"), SAMPLE_SCHEMA, compression="zstd") as writer:
        for batch in _batches(Path(task.path), None):
            rows = [row for sample in batch for row in _draw(sample, task)]
            writer.write_table(pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA))
            train = [row for row in rows if row["split"] == "train"]
            counts["samples"] += len(rows)
            counts["train_samples"] += len(train)
            n_bytes = sum(len(row["content"].encode()) for row in train)
            counts["train_tokens"] += round(n_bytes * task.ratio)
    return counts


def _draw(sample: dict[str, Any], task: MixTask) -> Iterator[dict[str, Any]]:
    if sample["split"] != "train":
        yield sample
        return
    for i in range(count_copies(sample["id"], task.repeats, task.seed)):
        yield sample if i == 0 else {**sample, "id": f"{sample['id']}#{i + 1}"}


def _tasks(parts: Sequence[Part], repeats: Sequence[float], seed: int) -> Iterator[MixTask]:
    for part, times in zip(parts, repeats, strict=True):
        n_bytes = sum(
            len(row["content"].encode())
            for path in part.samples.files("samples-*.parquet")
            for batch in _batches(path, ["split", "content"])
            for row in batch
            if row["split"] == "train"
        )
        ratio = part.n_tokens / max(1, n_bytes)
        for path in part.samples.files("samples-*.parquet"):
            yield MixTask(str(path), times, seed, ratio)


def _batches(path: Path, columns: list[str] | None) -> Iterator[list[dict[str, Any]]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=64, columns=columns):
            yield batch.to_pylist()


def _parse_part(part: str) -> tuple[Artifact, float]:
    folder, equals, share = part.rpartition("=")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if not equals or value <= 0:
        raise ConfigError(f"mix: {part} is not SAMPLES_DIR=SHARE with a positive share")
    return open_artifact(Path(folder), "samples"), value


def _folder(part: str) -> str:
    """The folder as it was given: parts may lie in folders of one name."""
    return part.rpartition("=")[0]


def _tokenizer_file(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    path = tokenizer_file(folder)
    if not path.is_file():
        raise ConfigError(f"mix: no tokenizer at {path}")
    return path
