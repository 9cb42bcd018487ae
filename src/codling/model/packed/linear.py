"""Packed matrices in the place of a model's linear layers, embedding and experts.

Input: packed matrices. Output: modules that compute with them, so that the model's own code runs on
them: prompts, scores, and architectures that the compiled loop does not know.

Legend: R or T tokens, M columns, N rows, E hidden width. Not here: the arithmetic (kernels.py),
decoding (engine/).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codling.core.team import Team
from codling.model.moe import Routing
from codling.model.packed.kernels import entry_of, linear, new_activations, new_scratch, rows_of
from codling.model.packed.matrix import Array, PackedMatrix

_ROWS = 64
"""Tokens whose activations are rounded before they are multiplied."""


class PackedLinear(nn.Module):
    """x w^T + bias."""

    def __init__(self, matrix: PackedMatrix, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        self.matrix = matrix
        self.in_features, self.out_features = matrix.n_columns, matrix.n_rows
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., M] to [..., N], in the type of `x`."""
        x_RM = x.reshape(-1, x.shape[-1]).float().contiguous()
        out_RN = torch.empty(len(x_RM), self.out_features)
        if len(x_RM):
            multiply_all(self.matrix, x_RM.numpy(), out_RN.numpy())
        if self.bias is not None:
            out_RN += self.bias.float()
        return out_RN.view(*x.shape[:-1], -1).to(x.dtype)


class PackedEmbedding(nn.Module):
    """Rows of a packed matrix, in type `dtype`."""

    def __init__(self, matrix: PackedMatrix, dtype: torch.dtype) -> None:
        super().__init__()
        self.matrix, self.dtype = matrix, dtype

    def forward(self, ids: Tensor) -> Tensor:
        """[..., E]."""
        out_RM = np.empty((ids.numel(), self.matrix.n_columns), dtype=np.float32)
        entry = np.array(entry_of(self.matrix), dtype=np.int64)
        rows_of(entry, ids.flatten().numpy(), new_scratch(self.matrix.n_groups), out_RM)
        return torch.from_numpy(out_RM).to(self.dtype).view(*ids.shape, -1)


class MappedEmbedding(nn.Module):
    """Rows of a table in a file, read as they are asked for, in type `dtype`."""

    def __init__(self, rows: Callable[[Array], Array], dtype: torch.dtype) -> None:
        """`rows` gives float32 [R, E] for ids [R]."""
        super().__init__()
        self.rows, self.dtype = rows, dtype

    def forward(self, ids: Tensor) -> Tensor:
        """[..., E]."""
        found = torch.from_numpy(self.rows(ids.flatten().numpy()))
        return found.to(self.dtype).view(*ids.shape, -1)


class PackedExperts(nn.Module):
    """Routed experts, each with a gate, an up and a down matrix; no copy of the weights is made."""

    def __init__(self, experts: Sequence[tuple[PackedMatrix, PackedMatrix, PackedMatrix]]) -> None:
        super().__init__()
        self.experts = list(experts)

    def forward(self, x_TE: Tensor, routing: Routing) -> Tensor:
        """The weighted sum of the chosen experts' outputs, [T, E]."""
        out_TE = torch.zeros(x_TE.shape, dtype=torch.float32)
        for expert in torch.unique(routing.experts_TK).tolist():
            rows, slots = (routing.experts_TK == expert).nonzero(as_tuple=True)
            gate, up, down = map(PackedLinear, self.experts[expert])
            x = x_TE[rows].float()
            out = down(F.silu(gate(x)) * up(x))
            out_TE.index_add_(0, rows, out * routing.weights_TK[rows, slots].unsqueeze(-1))
        return out_TE.to(x_TE.dtype)


def multiply_all(matrix: PackedMatrix, x_RM: Array, out_RN: Array) -> None:
    """out = x w^T with all threads; `x_RM` and `out_RN` are contiguous float32."""
    team = _team()
    entry = np.array(entry_of(matrix), dtype=np.int64)
    bytes_RM, factors_RF = new_activations(len(x_RM), matrix.n_groups)
    n_tiles = len(matrix.codes)
    sync = np.zeros(16, dtype=np.int64)
    n_threads = min(team.n_threads, max(1, n_tiles * matrix.n_groups * len(x_RM) // _WORTH))
    scratches = [new_scratch(matrix.n_groups) for _ in range(n_threads)]

    def work(thread: int, n: int) -> None:
        linear(thread, n, sync, entry, x_RM, bytes_RM, factors_RF, scratches[thread], out_RN)

    team.run(work, n_threads)


_WORTH = 4096
"""Products of a tile with 32 columns, for which waking another thread is worth its time."""


@cache
def _team() -> Team:
    return Team(torch.get_num_threads())


def is_packed(module: nn.Module) -> bool:
    """Whether a model's output matrix is packed, and so all of its matrices."""
    head: Any = module.get_submodule("lm_head")
    return isinstance(head, PackedLinear)
