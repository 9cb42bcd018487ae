"""The files of an artefact of kind "dialogues": what `data dialogues` writes and tuning reads. No
torch.

`train.bin` and `heldout.bin` are the tokens of the documents, one after the other (little-endian
uint16 or uint32); `train.mask` and `heldout.mask` have a byte for each token, 1 where it counts for
the loss. `index-00000.parquet` says where each document lies and from which row it comes,
`dropped.jsonl` which rows were left out and why, `meta.json` the counts and settings, and
`chat_template.jinja` is the template by which the texts were made.

Not here: making them (dialogues.py), and windows of several documents (posttrain/windows.py).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from codling.core.artifact import open_artifact, read_own
from codling.corpus.tables.schemas import Split
from codling.tokens.token_files import META, Ids

KIND = "dialogues"
DROPPED = "dropped.jsonl"
DIALOGUE_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("n_counted", pa.int64(), nullable=False),
    ]
)
"""Table `index`: a document is tokens `start` to `start + length` of its stream, of which
`n_counted` count; it comes from row (line) `row` of `file`."""


@dataclass(frozen=True, kw_only=True)
class DialogueSplit:
    """What one stream holds."""

    n_documents: int
    n_tokens: int
    n_counted: int
    n_bytes: int
    """UTF-8 bytes of the counted tokens; bits per byte divide by this."""


@dataclass(frozen=True, kw_only=True)
class DialogueMeta:
    """The contents of meta.json."""

    vocab_size: int
    dtype: str
    eos: int
    context: int
    """No document is longer."""
    labels: str
    """"answers", or "published": as DeepSeek-Coder's script made them."""
    splits: dict[Split, DialogueSplit]


@dataclass(frozen=True)
class LabelledStream:
    """A stream's tokens, their marks, and where its documents begin and how long they are."""

    ids: Ids
    counted: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def read_dialogue_meta(path: Path) -> DialogueMeta:
    """meta.json of the artefact at `path`; ArtifactError if there is none."""
    open_artifact(path, KIND)
    raw = read_own(path / META)
    splits = {name: DialogueSplit(**values) for name, values in raw.pop("splits").items()}
    return DialogueMeta(**raw, splits=splits)


def open_labelled(path: Path, split: Split) -> LabelledStream:
    """One stream, memory-mapped where it is not empty."""
    meta = read_dialogue_meta(path)
    table = pq.read_table(path / "index-00000.parquet", filters=[("split", "=", split)])
    starts, lengths = (table[name].to_numpy().astype(np.int64) for name in ("start", "length"))
    if not len(starts):
        empty = np.zeros(0, dtype=meta.dtype)
        return LabelledStream(empty, np.zeros(0, dtype=np.bool_), starts, lengths)
    ids = np.memmap(path / f"{split}.bin", dtype=meta.dtype, mode="r")
    counted = np.memmap(path / f"{split}.mask", dtype=np.bool_, mode="r")
    return LabelledStream(ids, counted, starts, lengths)
