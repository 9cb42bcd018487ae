"""The next token of a row of logits: greedy, or drawn by temperature, top-k and top-p.

Input: logits, and the parameters and random generator of their sequence. Output: a token id, and
log-probabilities where they are asked for. A token is drawn by inverting its cumulative
distribution at one number from the sequence's own generator, so it depends neither on the batch nor
on drafts.

Shapes: V vocabulary, K alternatives. Not here: stopping (sequence.py), text (stream.py).
"""

import torch
from torch import Tensor

from codling.engine.sequence import Sequence

NUCLEUS = 1024
"""top-p looks at this many likeliest tokens first; only a flat distribution needs a full sort."""


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
