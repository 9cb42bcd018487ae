"""Root-mean-square normalisation (arXiv:1910.07467).

Not here: where it is applied (transformer.py, mla.py).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) x weight over the last dimension; half types computed in fp32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and type as `x`."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
