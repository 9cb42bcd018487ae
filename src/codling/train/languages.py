"""Which language each held-out window is in, so that bits per byte can be told by language.

Input: an artefact of kind "tokens", the places of windows. Output: a language for each, by the
sample that fills most of it, and what a token of each language stands for. The samples tell the
languages; where they are no longer there, nobody knows.

Not here: the loss (heldout_loss.py).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from codling.core.artifact import open_artifact
from codling.tokens.token_files import read_index


@dataclass(frozen=True)
class HeldoutLanguages:
    """The languages of the rows of held-out batches."""

    of_rows: tuple[tuple[str, ...], ...]
    """For every batch that of each row."""
    bytes_per_token: Mapping[str, float]

    def bits_per_byte(self, losses: Iterable[Sequence[float]]) -> dict[str, float]:
        """Bits per byte of each language, from every row's mean loss in nats."""
        found: dict[str, list[float]] = {}
        for names, values in zip(self.of_rows, losses, strict=False):
            for name, loss in zip(names, values, strict=False):
                found.setdefault(name, []).append(loss)
        return {
            name: round(sum(rows) / len(rows) / math.log(2) / self.bytes_per_token[name], 5)
            for name, rows in sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))
        }


def find_languages(
    tokens_dir: Path, starts: Sequence[Sequence[int]], length: int
) -> HeldoutLanguages | None:
    """The languages of held-out windows of `length` tokens, by where each begins in the stream."""
    languages = _languages_of_samples(tokens_dir)
    if not languages:
        return None
    samples = list(read_index(tokens_dir, "heldout"))
    names = [languages.get(row["sample_id"], "") for row in samples]
    n_tokens, n_bytes = Counter[str](), Counter[str]()
    for name, row in zip(names, samples, strict=True):
        n_tokens[name] += row["length"]
        n_bytes[name] += row["n_bytes"]
    spans = [(row["start"], row["start"] + row["length"]) for row in samples]
    of_rows = tuple(
        tuple(_main_language(start, start + length, spans, names) for start in batch)
        for batch in starts
    )
    rates = {name: max(1, n_bytes[name]) / max(1, n_tokens[name]) for name in n_tokens}
    return HeldoutLanguages(of_rows, rates)


def _main_language(
    start: int, end: int, spans: Sequence[tuple[int, int]], names: Sequence[str]
) -> str:
    shares = Counter[str]()
    for (first, last), name in zip(spans, names, strict=True):
        shares[name] += max(0, min(end, last) - max(start, first))
    return shares.most_common(1)[0][0]


def _languages_of_samples(tokens_dir: Path) -> dict[str, str]:
    """The most frequent language of each held-out sample's files; empty where samples are gone."""
    tokens = open_artifact(tokens_dir, "tokens")
    for source in tokens.manifest.inputs:
        paths = sorted((tokens.path / source.path).glob("samples-*.parquet"))
        if source.kind == "samples" and paths:
            held = [("split", "=", "heldout")]
            tables = [pq.read_table(p, columns=["id", "languages"], filters=held) for p in paths]
            rows = [row for table in tables for row in table.to_pylist()]
            return {row["id"]: Counter(row["languages"]).most_common(1)[0][0] for row in rows}
    return {}
