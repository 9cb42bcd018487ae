"""Pack samples into token streams, with insertion tasks in the training stream.

Input: artefacts of kind "samples" and "tokenizer". Output: an artefact of kind "tokens"
(token_files.py). A sample becomes `bos text eos`; nothing is truncated or dropped.

Insertion tasks (fim.py) take the place of plain text at two levels. "document": whole samples.
"chunk": the stream is seen as windows of `context` tokens, and every stretch of a sample inside one
window is on its own either plain text or a task that fits into what is left of the window, so that
no window cuts a task.

Two steps: the samples are encoded in tasks of some megabytes, in parallel and resumable; then one
pass lays them out. Neither depends on the number of workers.

Not here: shuffling (dataset.py).
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codling.core.artifact import Artifact, Draft, open_artifact
from codling.core.errors import SourceError, TokenizerError
from codling.core.files import replace_file, write_json
from codling.core.inputs import tokenizer_file, tokenizer_input
from codling.core.log import Bar
from codling.core.ranges import Context, Ranged, Seed, Share, WorkersFromZero
from codling.core.recipe import aside
from codling.core.shards import Counts, Parallel, Shard, map_shards, write_table
from codling.core.stage import Work, stage
from codling.corpus.tables.schemas import Split
from codling.tokens.bulk import BulkEncoder
from codling.tokens.fim import Draw, training_task
from codling.tokens.spans import Spans
from codling.tokens.token_files import INDEX_SCHEMA, META, Ids, SplitMeta, StreamMeta, dtype_for
from codling.tokens.tokenizer import Tokenizer

_IDS = "ids"
"""The samples as tokens, before they are laid out."""
_TASK_BYTES = 8_000_000
_MIN_TASK = 16
"""A stretch of fewer tokens stays plain text."""
_OVERHEAD = 5
"""Tokens that a task adds: bos, begin, hole, end, eos."""
_SLACK = 4
"""Tokens that the two cuts usually add: a token that is cut becomes several."""


FimLevel = Literal["auto", "document", "chunk"]


@dataclass(frozen=True, kw_only=True)
class PackConfig(Ranged):
    """Settings of pack."""

    samples_dir: Path = aside(Path("runs/samples"))
    """Artefact of kind "samples"."""
    tokenizer_dir: Path = aside(Path("runs/tokenizer"))
    """Artefact of kind "tokenizer", or the folder of a published tokenizer."""
    out_dir: Path = aside(Path("runs/tokens"))
    """Where the token streams go."""
    context: Context = 512
    """Tokens that the model sees at once; decides what `fim_level` auto means."""
    fim_rate: Share = 0.5
    """Share of the pieces of training text that become insertion tasks; the held-out text never
    does."""
    fim_spm_share: Share = 0.5
    """Share of the insertion tasks that show the suffix first (SPM) instead of the prefix (PSM).
    From one half on, prompts are in SPM too. DeepSeek-Coder: 0."""
    fim_line_share: Share = 0.5
    """Share of the insertion tasks whose hole is one line without its indentation; the others are
    cut between any two characters. DeepSeek-Coder: 0."""
    fim_level: FimLevel = "auto"
    """"document": whole samples are transformed before packing, as DeepSeek-Coder did. "chunk":
    every window of `context` tokens on its own, so that no window cuts a task. "auto": chunk up to
    1024, else document."""
    seed: Seed = 0
    """Decides which pieces become insertion tasks, and where their holes are."""
    workers: WorkersFromZero = aside(0)
    """Processes that encode; 0: one, whose threads use every core."""

    @property
    def fim_unit(self) -> Literal["document", "chunk"]:
        """The level that `fim_level` means at this context."""
        if self.fim_level == "auto":
            return "chunk" if self.context <= 1024 else "document"
        return self.fim_level


@stage("tokens", version=2)
def pack(config: PackConfig) -> Work:
    """Encode the samples and lay them out as token streams, with insertion tasks in the training
    one.

    Example:
        codling pack --samples-dir runs/stdlib/samples --tokenizer-dir runs/stdlib/tokenizer \
--context 512
    """
    samples = open_artifact(config.samples_dir, "samples")
    tokenizer = Tokenizer.open(config.tokenizer_dir)
    if tokenizer.specials.eos is None:
        raise TokenizerError(f"{config.tokenizer_dir} names no eos token; packing needs one")
    if config.fim_rate and not tokenizer.can_insert:
        raise TokenizerError(
            f"the tokenizer of {config.tokenizer_dir} has no FIM tokens; set pack.fim_rate to 0"
        )
    draft = yield [samples, tokenizer_input(config.tokenizer_dir)]
    tasks = _tasks(samples, config.tokenizer_dir)
    if not tasks:
        raise SourceError(f"{config.samples_dir} has no samples; add sources")
    inner = draft.inner(_IDS)
    map_shards(inner, tasks, _encode_task, Parallel(workers=max(1, config.workers)), label="encode")
    meta = _lay_out(draft, tasks, tokenizer, config)
    if meta.splits["train"].n_tokens == 0:
        raise SourceError(f"{config.samples_dir} has no training samples; add sources")
    write_json(draft.file(META), asdict(meta))
    draft.counts |= {name: asdict(split) for name, split in meta.splits.items()}


@dataclass(frozen=True)
class EncodeTask:
    """Rows of one file of samples to encode."""

    path: Path
    start: int
    stop: int
    tokenizer_dir: Path


@dataclass
class _SplitStream:
    """One stream under construction."""

    file: BinaryIO
    dtype: str
    n_tokens: int = 0
    n_bytes: int = 0
    n_fim: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, ids: Ids | Sequence[int]) -> None:
        self.file.write(np.asarray(ids, dtype=self.dtype).tobytes())
        self.n_tokens += len(ids)

    @property
    def meta(self) -> SplitMeta:
        return SplitMeta(
            n_tokens=self.n_tokens,
            n_bytes=self.n_bytes,
            n_samples=len(self.rows),
            n_fim=self.n_fim,
        )


def _tasks(samples: Artifact, tokenizer_dir: Path) -> list[EncodeTask]:
    """Runs of whole samples of about 8 MB each, in the order of the samples."""
    tasks: list[EncodeTask] = []
    for path in samples.files("samples-*.parquet"):
        start, size = 0, 0
        lengths = pc.binary_length(pq.read_table(path, columns=["content"])["content"]).to_pylist()
        for row, n_bytes in enumerate(lengths):
            size += n_bytes
            if size >= _TASK_BYTES or row == len(lengths) - 1:
                tasks.append(EncodeTask(path, start, row + 1, tokenizer_dir))
                start, size = row + 1, 0
    return tasks


def _encode_task(task: EncodeTask, shard: Shard) -> Counts:
    if multiprocessing.parent_process() is not None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    file = tokenizer_file(task.tokenizer_dir)
    encoder = _encoder(file, file.stat().st_mtime_ns)
    rows = _rows(task, ["content"])
    ids, lengths = encoder.encode([r["content"] for r in rows])
    with replace_file(shard.path(_IDS, ".npz")) as temporary, temporary.open("wb") as stored:
        np.savez(stored, ids=ids, lengths=lengths)
    return {"samples": len(rows), "tokens": len(ids)}


def _rows(task: EncodeTask, columns: list[str]) -> list[dict[str, Any]]:
    table = pq.read_table(task.path, columns=columns)
    rows: list[dict[str, Any]] = table.slice(task.start, task.stop - task.start).to_pylist()
    return rows


@cache
def _encoder(tokenizer_file: Path, _mtime_ns: int) -> BulkEncoder:
    """One encoder for all tasks of a process, so that it meets a word for the first time only
    once."""
    return BulkEncoder(Tokenizer.open(tokenizer_file))


def _read_encoded(
    folder: Path, tasks: Sequence[EncodeTask]
) -> Iterator[tuple[dict[str, Any], Ids]]:
    """Each sample's id, split and size with its tokens, in order; one task in memory at a time."""
    for index, task in enumerate(tasks):
        with np.load(Shard(folder, index).path(_IDS, ".npz")) as stored:
            ids, ends = stored["ids"], np.cumsum(stored["lengths"])
        table = pq.read_table(task.path, columns=["id", "split", "content"])
        table = table.slice(task.start, task.stop - task.start)
        sizes = pc.binary_length(table["content"])
        rows = table.drop_columns("content").append_column("n_bytes", sizes).to_pylist()
        for row, end, start in zip(rows, ends, [0, *ends[:-1]], strict=True):
            yield row, ids[start:end]


def _lay_out(
    draft: Draft, tasks: Sequence[EncodeTask], tokenizer: Tokenizer, config: PackConfig
) -> StreamMeta:
    dtype = dtype_for(tokenizer.vocab_size)
    layout = _Layout(tokenizer, config)
    with (
        draft.file("train.bin").open("wb") as train,
        draft.file("heldout.bin").open("wb") as heldout,
        Bar("pack", sum(t.stop - t.start for t in tasks), unit="samples") as bar,
    ):
        streams: dict[Split, _SplitStream] = {
            "train": _SplitStream(train, dtype),
            "heldout": _SplitStream(heldout, dtype),
        }
        for row, ids in _read_encoded(draft.inner(_IDS).path, tasks):
            stream = streams[row["split"]]
            start = stream.n_tokens
            if row["split"] == "train":
                layout.add(stream, row["id"], ids)
            else:
                stream.add(layout.frame(ids))
            stream.n_bytes += row["n_bytes"]
            stream.rows.append(
                {
                    "sample_id": row["id"],
                    "split": row["split"],
                    "start": start,
                    "length": stream.n_tokens - start,
                    "n_bytes": row["n_bytes"],
                }
            )
            bar.advance(1)
    rows = [r for s in streams.values() for r in s.rows]
    write_table(draft.file("index-00000.parquet"), pa.Table.from_pylist(rows, INDEX_SCHEMA))
    eos = tokenizer.specials.eos
    assert eos is not None
    return StreamMeta(
        vocab_size=tokenizer.vocab_size,
        dtype=dtype,
        context=config.context if layout.by_chunk else 0,
        bos=tokenizer.specials.bos if tokenizer.adds_bos else None,
        eos=eos,
        fim_mode="spm" if config.fim_spm_share >= 0.5 else "psm",
        splits={name: stream.meta for name, stream in streams.items()},
    )


class _Layout:
    """Lays samples into the training stream, one after the other."""

    def __init__(self, tokenizer: Tokenizer, config: PackConfig) -> None:
        eos = tokenizer.specials.eos
        self._tokenizer, self._config = tokenizer, config
        self._bos = tokenizer.start_ids
        assert eos is not None
        self._eos = [eos]
        self.by_chunk = config.fim_unit == "chunk" and config.fim_rate > 0

    def frame(self, ids: Ids) -> Ids:
        """A plain sample: bos text eos."""
        return np.concatenate([np.array(m, ids.dtype) for m in (self._bos, ids, self._eos)])

    def add(self, stream: _SplitStream, sample_id: str, ids: Ids) -> None:
        """Append one sample."""
        if self.by_chunk:
            self._add_chunks(stream, sample_id, ids)
            return
        draw = self._draw_task(sample_id, 0)
        task = self._make_task(ids, draw) if draw and len(ids) >= _MIN_TASK else None
        stream.n_fim += task is not None
        stream.add(self.frame(ids) if task is None else task)

    def _add_chunks(self, stream: _SplitStream, sample_id: str, ids: Ids) -> None:
        """Fill up the windows in turn with plain stretches and tasks, to the sample's end."""
        todo = self.frame(ids)
        at, n_stretches = 0, 0
        while at < len(todo):
            room = self._config.context - stream.n_tokens % self._config.context
            draw = self._draw_task(sample_id, n_stretches)
            n_stretches += 1
            taken, task = self._fit_task(todo, at, room, draw) if draw else (0, None)
            if task is None:
                stream.add(todo[at : at + room])
                at += room
            else:
                stream.add(task)
                stream.n_fim += 1
                at += taken

    def _fit_task(self, todo: Ids, at: int, room: int, draw: Draw) -> tuple[int, list[int] | None]:
        """A task of at most `room` tokens from `at` on, and how many of `todo` it uses up."""
        begins = len(self._bos) if at == 0 else 0
        text = todo[at + begins : len(todo) - 1]
        size = min(len(text), room - _OVERHEAD - _SLACK)
        while size >= _MIN_TASK:
            task = self._make_task(text[:size], draw)
            if task is None:
                return 0, None
            if len(task) <= room:
                # The task brings its own bos and eos, so those of the sample are used up with it.
                return begins + size + (size == len(text)), task
            size -= len(task) - room
        return 0, None

    def _make_task(self, ids: Ids, draw: Draw) -> list[int] | None:
        return training_task(self._tokenizer, Spans(self._tokenizer, ids.tolist()), draw)

    def _draw_task(self, sample_id: str, stretch: int) -> Draw | None:
        """Whether this stretch becomes a task, and which; the same for the same seed and sample."""
        rng = Random(f"{self._config.seed}/{sample_id}/{stretch}")
        if rng.random() >= self._config.fim_rate:
            return None
        return Draw.of(rng, self._config.fim_spm_share, self._config.fim_line_share)
