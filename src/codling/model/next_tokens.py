"""What a model expects at every place of a text, without the logits of all places at once.

Input: token ids. Output: logits and the tokens that stand there, a piece at a time.
Not here: sampling (engine/), the training loss (train/loss.py).

Shapes: L tokens of a piece, E hidden size, V vocabulary.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from codling.model.cache import KVCache
from codling.model.transformer import Transformer

_PIECE = 256
"""Places whose logits are in memory at a time."""


@torch.inference_mode()
def predict_pieces(model: Transformer, ids_L: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits [l, V] in float32 and targets [l] for every token of `ids_L` after its first."""
    weight = model.norm.weight
    inputs_L, targets_L = ids_L[:-1].to(weight.device), ids_L[1:].to(weight.device)
    cache = KVCache.allocate(model.config, 1, len(inputs_L), weight.dtype, weight.device)
    for start in range(0, len(inputs_L), _PIECE):
        piece_L = inputs_L[start : start + _PIECE]
        hidden_LE = model(piece_L[None], cache=cache)[0]
        cache.advance(len(piece_L))
        yield model.logits(hidden_LE).float(), targets_L[start : start + _PIECE]
