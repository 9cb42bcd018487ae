"""How far a model reads: its loss by the place in a long window, and a needle in a file.

Input: a model, windows of held-out tokens, its tokenizer. Output: bits per token of the places
between powers of two; the share of needles that are found again. A needle is an assignment of a
random number somewhere in code; at the window's end the number is asked for, and it counts as found
if every token of it is the likeliest.

Shapes: L tokens of a window, V vocabulary. Not here: training (extend.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from codling.model.next_tokens import predict_pieces
from codling.model.transformer import Transformer
from codling.tokens.token_files import Ids
from codling.tokens.tokenizer import Tokenizer

FIRST_BORDER = 256
"""The first tokens of a window, which are hard for any model, are a bucket of their own."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The measurements of one model."""

    bits_per_token: dict[str, float]
    """By place in the window: "0-256", "256-512", "512-1024", ..."""
    needles: dict[str, float]
    """Share of the needles found, by length of the prompt in tokens."""

    def bits_up_to(self, length: int) -> float:
        """Mean bits per token of the places before `length`."""
        parts = [(*_ends(name), bits) for name, bits in self.bits_per_token.items()]
        inside = [(end - start, bits) for start, end, bits in parts if end <= length]
        total = sum(n for n, _ in inside)
        return sum(n * bits for n, bits in inside) / total if total else math.nan


def measure_reach(  # noqa: PLR0913 (a model, its text, and how much of it)
    model: Transformer,
    tokenizer: Tokenizer,
    stream: Ids,
    *,
    lengths: Sequence[int],
    n_windows: int,
    n_needles: int,
) -> Reach:
    """Both measurements, on evenly spread windows of a stream of tokens.

    `lengths` ascend; the last is that of the windows. `n_needles` for each length, at depths from
    the beginning to the end.
    """
    longest = min(lengths[-1], len(stream) - 1)
    starts = np.linspace(0, len(stream) - 1 - longest, n_windows).astype(int).tolist()
    sums = dict.fromkeys(_buckets(longest, lengths), 0.0)
    for start in starts:
        bits_L = token_bits(model, stream[start : start + longest + 1])
        for name in sums:
            first, end = _ends(name)
            sums[name] += float(bits_L[first:end].mean()) / len(starts)
    needles = {}
    for length in lengths if n_needles else ():
        found = [
            finds_needle(model, tokenizer, stream, length=length, depth=i / n_needles, seed=i)
            for i in range(n_needles)
        ]
        needles[str(length)] = sum(found) / n_needles
    return Reach(bits_per_token=sums, needles=needles)


def token_bits(model: Transformer, window: Ids) -> torch.Tensor:
    """Bits of every token of a window after its first, [L - 1]."""
    parts = [
        F.cross_entropy(logits_LV, targets_L, reduction="none")
        for logits_LV, targets_L in predict_pieces(model, torch.from_numpy(window.astype(np.int64)))
    ]
    return torch.cat(parts) / math.log(2)


def finds_needle(  # noqa: PLR0913 (a model, its text, and where the needle lies)
    model: Transformer, tokenizer: Tokenizer, stream: Ids, *, length: int, depth: float, seed: int
) -> bool:
    """Whether a number that was assigned at `depth` (0 first, 1 last) is known at the end."""
    rng = Random(seed)
    name, number = f"LIMIT_{rng.randrange(100, 1000)}", str(rng.randrange(10_000, 100_000))
    needle = tokenizer.encode(f"\n{name} = {number}\n")
    question, answer = tokenizer.encode(f"\nassert {name} =="), tokenizer.encode(f" {number}")
    n_filler = length - len(needle) - len(question) - len(answer)
    if n_filler < 0 or len(stream) < n_filler:
        return False
    filler = stream[:n_filler].tolist()
    at = int(depth * n_filler)
    ids_L = torch.tensor([*filler[:at], *needle, *filler[at:], *question, *answer])
    likeliest = [logits_LV.argmax(-1) for logits_LV, _ in predict_pieces(model, ids_L)]
    return torch.cat(likeliest)[-len(answer) :].tolist() == answer


def _buckets(longest: int, lengths: Sequence[int]) -> list[str]:
    """Names of the buckets: powers of two, and borders at the lengths.

    >>> _buckets(1500, [600, 1500])
    ['0-256', '256-512', '512-600', '600-1024', '1024-1500']
    """
    powers = {FIRST_BORDER << n for n in range(longest.bit_length())}
    borders = sorted({b for b in powers | set(lengths) if b < longest} | {0, longest})
    return [f"{a}-{b}" for a, b in pairwise(borders)]


def _ends(name: str) -> tuple[int, int]:
    first, _, end = name.partition("-")
    return int(first), int(end)


def compare_reach(before: Reach, after: Reach, old_length: int) -> dict[str, Any]:
    """Both as a table, and the rise of the loss within the old length, in percent."""
    was, now = before.bits_up_to(old_length), after.bits_up_to(old_length)
    return {
        "bits_per_token": {"before": before.bits_per_token, "after": after.bits_per_token},
        "needles_found": {"before": before.needles, "after": after.needles},
        "old_length": old_length,
        "rise_at_old_length_percent": round(100 * (now / was - 1), 3) if was > 0 else None,
    }
