"""One matrix product per row of a batch.

Not here: products whose number of rows differs (grouped.py).
"""

import torch
from torch import Tensor


def batched_matmul(a_BXY: Tensor, b_BYZ: Tensor) -> Tensor:
    """a b for each row of the batch, [B, X, Z].

    On the CPU one product after the other: oneDNN is slow at bf16 batches cut from a larger tensor,
    as the visible part of a cache is.
    """
    if a_BXY.device.type != "cpu":
        return torch.bmm(a_BXY, b_BYZ)
    return torch.stack([a @ b for a, b in zip(a_BXY, b_BYZ, strict=True)])
