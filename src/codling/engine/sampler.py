"""The next token of a row of logits: greedy, or drawn by temperature, top-k and top-p.

Input: logits, and the parameters and random generator of their sequence. Output: a token id, and
log-probabilities where they are asked for. A token is drawn by inverting its cumulative
distribution at one number from the sequence's own generator, so it depends neither on the batch nor
on drafts.

Shapes: W rows, V vocabulary, K alternatives. Not here: stopping (sequence.py), text (stream.py).
"""

from collections.abc import Sequence as Many
from typing import NamedTuple

import torch
from torch import Tensor

from codling.engine.sequence import Sequence

NUCLEUS = 1024
"""top-p looks at this many likeliest tokens first; only a flat distribution needs a full sort."""

_TOGETHER = 1 << 22
"""Probabilities that are held at a time where many rows are drawn together."""


class Drawn(NamedTuple):
    """A token that was drawn."""

    id: int
    logprob: float | None
    """Natural log-probability under the distribution that it was drawn from."""


def choose(logits_V: Tensor, sequence: Sequence) -> int:
    """The next token's id."""
    greedy = sequence.params.temperature == 0
    return int(logits_V.argmax()) if greedy else _draw(logits_V, sequence)


def top_logprobs(
    logits_V: Tensor, token_id: int, n_top: int
) -> tuple[float, list[tuple[int, float]]]:
    """The token's natural log-probability and the `n_top` likeliest (id, log-probability)."""
    logprobs_V = logits_V.float().log_softmax(dim=-1)
    values_K, ids_K = logprobs_V.topk(min(n_top, len(logprobs_V)))
    top = list(zip(ids_K.tolist(), values_K.tolist(), strict=True))
    return float(logprobs_V[token_id]), top


def keep_probable(
    logits_V: Tensor, *, temperature: float, top_k: int, top_p: float
) -> tuple[Tensor, Tensor | None]:
    """Unnormalised probabilities in float64 left by top-k, then top-p, and their token ids.

    Ids None means: all tokens in order of id. Otherwise both are sorted, likeliest first.
    """
    weights_V = ((logits_V.double() - logits_V.max()) / temperature).exp()
    n = len(weights_V)
    if not 0 < top_k < n and top_p >= 1:
        return weights_V, None
    n_sorted = top_k if 0 < top_k < n else min(n, NUCLEUS)
    weights_K, ids_K = weights_V.topk(n_sorted)
    if top_p >= 1:
        return weights_K, ids_K
    total = weights_K.sum() if 0 < top_k < n else weights_V.sum()
    if n_sorted < n and not 0 < top_k < n and weights_K.sum() < top_p * total:
        weights_K, ids_K = weights_V.sort(descending=True)
    n_kept = int((weights_K.cumsum(0) < top_p * total).sum()) + 1
    return weights_K[:n_kept], ids_K[:n_kept]


def _draw(logits_V: Tensor, sequence: Sequence) -> int:
    params = sequence.params
    weights_K, ids_K = keep_probable(
        logits_V, temperature=params.temperature, top_k=params.top_k, top_p=params.top_p
    )
    cumulative_K = weights_K.cumsum(0)
    point = cumulative_K[-1:] * sequence.random.random()
    at = int(torch.searchsorted(cumulative_K, point, right=True).clamp_(max=len(weights_K) - 1))
    return at if ids_K is None else int(ids_K[at])


def draw_together(logits_WV: Tensor, sequences: Many[Sequence]) -> list[Drawn]:
    """What `choose` draws for each row, of sequences with a temperature, no top-k and no top-p."""
    n_rows = max(1, _TOGETHER // logits_WV.shape[1])
    return [
        drawn
        for at in range(0, len(sequences), n_rows)
        for drawn in _draw_rows(logits_WV[at : at + n_rows], sequences[at : at + n_rows])
    ]


def _draw_rows(logits_WV: Tensor, sequences: Many[Sequence]) -> list[Drawn]:
    heat_W1 = torch.tensor([[each.params.temperature] for each in sequences], dtype=torch.float64)
    points_W1 = torch.tensor([[each.random.random()] for each in sequences], dtype=torch.float64)
    scores_WV = logits_WV.double().sub_(logits_WV.max(1, keepdim=True).values).div_(heat_W1)
    cumulative_WV = scores_WV.exp().cumsum_(1)
    total_W1 = cumulative_WV[:, -1:]
    ids_W1 = torch.searchsorted(cumulative_WV, points_W1 * total_W1, right=True)
    ids_W1.clamp_(max=logits_WV.shape[1] - 1)
    logprobs_W1 = scores_WV.gather(1, ids_W1) - total_W1.log()
    pairs = zip(ids_W1[:, 0].tolist(), logprobs_W1[:, 0].tolist(), strict=True)
    return [Drawn(*pair) for pair in pairs]
