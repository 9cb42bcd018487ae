"""The token streams of an artefact of kind "tokens": what pack writes and all other stages read. No
torch.

Files: `train.bin` and `heldout.bin` (little-endian uint16 or uint32, one number per token, no
header), `meta.json` (counts and settings), `index-00000.parquet` (where every sample lies in its
stream).

Not here: making them (pack.py), and batches (dataset.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import open_artifact, read_own
from codling.core.errors import ArtifactError, ConfigError
from codling.corpus.tables.schemas import Split
from codling.tokens.tokenizer import Tokenizer

Ids = npt.NDArray[np.integer[Any]]

META = "meta.json"
_MAX_COMPARED = 50_000
"""Held-out tokens that are turned back into bytes, to see whose they are."""
_LOSSY = 0.02
"""Some tokenizers put a blank before a text, or change letters; another one is further off."""
INDEX_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
    ]
)
"""Table `index`: sample `sample_id` is tokens `start` to `start + length` of the stream `split`,
its marks included; `n_bytes` are the UTF-8 bytes of its text."""


@dataclass(frozen=True, kw_only=True)
class SplitMeta:
    """What one stream holds."""

    n_tokens: int
    n_bytes: int
    """UTF-8 bytes of the text that the tokens stand for; bits per byte divide by this."""
    n_samples: int
    n_fim: int
    """Insertion tasks in the stream; always 0 in the held-out one."""


@dataclass(frozen=True, kw_only=True)
class StreamMeta:
    """The contents of meta.json."""

    vocab_size: int
    dtype: str
    context: int
    """What pack cut chunks for; 0 if the stream suits any context."""
    bos: int | None
    eos: int
    splits: dict[Split, SplitMeta]
    fim_mode: Literal["psm", "spm"] = "psm"
    """The order in which a model that learned from these tokens is asked to insert."""


def read_meta(path: Path) -> StreamMeta:
    """meta.json of the token artefact at `path`; ArtifactError if there is none."""
    open_artifact(path, "tokens")
    raw = read_own(path / META)
    splits = {name: SplitMeta(**values) for name, values in raw.pop("splits").items()}
    return StreamMeta(**raw, splits=splits)


def open_stream(path: Path, split: Split) -> Ids:
    """The tokens of one stream, memory-mapped, read-only.

    Raises ArtifactError if the stream is empty.
    """
    meta = read_meta(path)
    if meta.splits[split].n_tokens == 0:
        raise ArtifactError(f"{path} has no {split} tokens; add sources and run its stages again")
    return np.memmap(path / f"{split}.bin", dtype=meta.dtype, mode="r")


def read_index(path: Path, split: Split) -> Iterator[dict[str, Any]]:
    """The rows of the index of one stream, in stream order."""
    table = pq.read_table(path / "index-00000.parquet", filters=[("split", "=", split)])
    yield from table.to_pylist()


def dtype_for(vocab_size: int) -> str:
    """The narrowest type that holds every id."""
    return "<u2" if vocab_size <= 1 << 16 else "<u4"


def check_tokenizer(path: Path, tokenizer: Tokenizer, name: Path) -> None:
    """ConfigError if the tokens at `path` are not those of `tokenizer`, which lies at `name`.

    Two tokenizers of one size differ in how many bytes they make of the same held-out tokens.
    """
    meta, n_tokens, n_bytes, n_found = read_meta(path), 0, 0, 0
    fits = (meta.vocab_size, meta.eos) == (tokenizer.vocab_size, tokenizer.specials.eos)
    if fits and meta.splits["heldout"].n_tokens:
        stream = open_stream(path, "heldout")
        for row in read_index(path, "heldout"):
            own = stream[row["start"] : row["start"] + row["length"]]
            n_found += _count_bytes(own, tokenizer)
            n_bytes += row["n_bytes"]
            n_tokens += len(own)
            if n_tokens > _MAX_COMPARED:
                break
    if not fits or abs(n_found - n_bytes) > 16 + _LOSSY * n_bytes:
        raise ConfigError(
            f"the tokens in {path} were made with another tokenizer than that of {name}; pack "
            "again with this one"
        )


def _count_bytes(ids: Ids, tokenizer: Tokenizer) -> int:
    """The bytes of the text that `ids` stand for, marks apart."""
    met, counts = np.unique(ids, return_counts=True)
    pairs = zip(met.tolist(), counts.tolist(), strict=True)
    return sum(n * len(tokenizer.token_bytes(i)) for i, n in pairs if not tokenizer.is_special(i))
