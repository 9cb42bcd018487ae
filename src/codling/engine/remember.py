"""The stage `memory`: a repository's files become a memory that a model can use.

Input: an artefact of kind "documents", and the model whose tokenizer reads them. Output: an
artefact of kind "memory": the index (tokens, order, file_starts), files with licences, and the
weights, fitted on the repository itself: a file is dropped while its own text is predicted.

Not here: which files are worth remembering (the stations before), and asking (memory/recall.py).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from codling.checkpoint.adapter import adapter_input
from codling.core.artifact import MANIFEST, Artifact, Input, open_artifact
from codling.core.errors import ConfigError
from codling.core.log import Bar, say
from codling.core.ranges import CountFromZero, Ranged, Seed
from codling.core.recipe import aside
from codling.core.shards import read_rows
from codling.core.stage import Work, stage
from codling.corpus.config import CollectConfig
from codling.corpus.sources_to_documents import make_documents
from codling.engine.config import Precision
from codling.engine.memory.index import MAX_MATCH, recall_in_text
from codling.engine.memory.kernels import Ids
from codling.engine.memory.mixture import (
    Observation,
    class_of,
    fit_weights,
    mixture_probability,
    share_of,
)
from codling.engine.memory.repository import KIND, Memory, fingerprint
from codling.engine.text import TextEngine

_COLUMNS = ("path", "repo", "license", "language", "split", "content")
_WINDOW = 512
"""Tokens of a file that the model sees at a time while weights are fitted."""
_MIN_FITTED = 1000
"""Fewer tokens are too few to fit on: the default weights stay."""


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(Ranged):
    """Settings of `codling memory`."""

    path: Path = aside()
    """A repository or folder, or an artefact of kind "documents"; held-out files are left out."""
    own: bool = False
    """With a repository: the code is yours, so files without any licence are remembered too."""
    model: Path = aside()
    """Checkpoint whose tokenizer reads the files, and for which the weights are fitted."""
    adapter: Path | None = aside(None)
    """Adapter of that model: the weights are fitted for the two together."""
    out_dir: Path = aside()
    """Where the memory goes."""
    fit_tokens: CountFromZero = 8000
    """Tokens of the repository that the weights are fitted on; 0 takes the default weights."""
    precision: Precision = "bfloat16"
    """How the model's weights are held while the memory is fitted."""
    seed: Seed = 0
    """Which files the weights are fitted on."""


@stage(KIND, version=1)
def memory(config: MemoryConfig) -> Work:
    """Index a repository's files, so that completions can repeat their text.

    Example:
        codling memory ~/src/app --own --model base.gguf --out-dir runs/app/memory
    """
    documents = _documents(config)
    adapters = [] if config.adapter is None else [adapter_input(config.adapter)]
    with TextEngine.open(
        config.model, precision=config.precision, max_streams=1, adapter=config.adapter
    ) as engine:
        stamp = fingerprint(engine.tokenizer)
        tokenizer = Input(kind="tokenizer", id=stamp, path=str(config.model.absolute()))
        draft = yield [documents, tokenizer, *adapters]
        rows = (
            row for row in read_rows(documents, "documents", _COLUMNS) if row["split"] == "train"
        )
        made = Memory.build(engine.tokenizer, rows)
        if made.n_files == 0:
            raise ConfigError(f"{config.path} holds no file to remember{_cure(config)}")
        _fit(made, engine, config)
        made.save(draft.path)
        draft.counts |= {
            "files": made.n_files,
            "tokens": made.n_tokens,
            "bytes": made.n_bytes,
            "tokenizer": stamp,
        }


def observe(engine: TextEngine, memory: Memory, n_tokens: int, seed: int) -> list[Observation]:
    """The probabilities of model and memories for the tokens of some files, each dropped while it
    is predicted.

    Files in random order, a window of each, until there are `n_tokens`.
    """
    index = memory.index
    order = list(range(len(index.file_starts)))
    Random(seed).shuffle(order)
    seen: list[Observation] = []
    with Bar("fit memory", n_tokens, unit="tokens") as bar:
        for number in order:
            ids = _window(index.file(number), engine.max_length, seed + number)
            if len(ids) < 2:
                continue
            was_alive, index.alive[number] = index.alive[number], False
            found = list(_observe_file(engine, memory, ids))
            index.alive[number] = was_alive
            seen += found
            bar.advance(len(found))
            if len(seen) >= n_tokens:
                break
    return seen


def _documents(config: MemoryConfig) -> Artifact:
    """The artefact as it is; a repository passes licence gate, filters and redaction first."""
    if (config.path / MANIFEST).is_file():
        return open_artifact(config.path, "documents")
    beside = config.out_dir.absolute().with_name(config.out_dir.name + ".documents")
    return make_documents(
        CollectConfig(
            sources=(config.path,), out_dir=beside / "raw", own=config.own, heldout_fraction=0.0
        )
    )


def _cure(config: MemoryConfig) -> str:
    return "" if config.own else "; if the code is yours, add --own"


def _fit(memory: Memory, engine: TextEngine, config: MemoryConfig) -> None:
    if config.fit_tokens == 0:
        return
    seen = observe(engine, memory, config.fit_tokens, config.seed)
    if len(seen) < _MIN_FITTED:
        say(f"only {len(seen)} tokens to fit weights on; the default weights stay")
        return
    memory.weights = fit_weights(seen)
    before = _mean_bits(o.model for o in seen)
    after = _mean_bits(mixture_probability(memory.weights, o) for o in seen)
    say(f"bits per token on the repository's files: {before:.3f}, with memory {after:.3f}")


def _mean_bits(probabilities: Iterator[float]) -> float:
    bits = [-math.log2(max(p, 1e-30)) for p in probabilities]
    return sum(bits) / len(bits)


def _window(ids: Ids, max_length: int, seed: int) -> list[int]:
    length = min(_WINDOW, max_length - 1)
    start = Random(seed).randrange(max(1, len(ids) - length + 1))
    return [int(i) for i in ids[start : start + length]]


def _observe_file(engine: TextEngine, memory: Memory, ids: list[int]) -> Iterator[Observation]:
    scored = engine.score(ids)
    text = np.array([*ids, -1], np.int64)
    for at in range(1, len(ids)):
        entry = scored[at]
        assert entry is not None
        tree = memory.recall(text[max(0, at - MAX_MATCH) : at])
        own = recall_in_text(text, at, -1)
        yield Observation(
            math.exp(entry.logprob),
            share_of(tree, ids[at]),
            share_of(own, ids[at]),
            class_of(tree),
            class_of(own),
        )
