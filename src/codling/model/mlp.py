"""The gated MLP of Llama (SwiGLU, arXiv:2002.05202).

Not here: routed experts (moe.py).
"""

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """down(silu(gate(x)) x up(x)), no biases."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out
