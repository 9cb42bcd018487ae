"""Rounding the matrices of a model in memory, in place.

Input: a model of float weights. Output: the same model, whose linear layers, experts and tied
embedding are packed. Norms, biases, routers, the matrix that latent attention takes apart and an
embedding of its own stay as they are.

Not here: packing while a file is read, which never holds the float weights (checkpoint/pack.py).
"""

from typing import Any

import torch
from torch import Tensor, nn

from codling.model.moe import Experts
from codling.model.packed.linear import PackedEmbedding, PackedExperts, PackedLinear
from codling.model.packed.matrix import Arena, PackedMatrix
from codling.model.packed.quantize import Bits, round_matrix
from codling.model.transformer import Transformer

KEPT = ("kv_b_proj",)
"""Linear layers that stay: MLA multiplies with parts of this one's transpose."""


def pack_model(model: Transformer, bits: Bits) -> None:
    """Round all large matrices to so many bits, one after the other."""
    memory = Arena()
    for name, module in list(model.named_modules()):
        if isinstance(module, Experts):
            replace_module(model, name, PackedExperts(_round_experts(module, bits, memory)))
        elif is_packable(name, module) and name != "lm_head":
            bias: Any = module.bias
            replace_module(model, name, PackedLinear(_round(module.weight, bits, memory), bias))
    set_head(model, _round(model.lm_head.weight, bits, memory), model.norm.weight.dtype)


def is_packable(name: str, module: nn.Module) -> bool:
    """Whether a module becomes a PackedLinear."""
    return isinstance(module, nn.Linear) and name.rpartition(".")[2] not in KEPT


def set_head(model: Transformer, matrix: PackedMatrix, dtype: torch.dtype) -> None:
    """Make a packed matrix the output matrix, and the embedding where they are one."""
    if model.config.tie_embeddings:
        replace_module(model, "embed_tokens", PackedEmbedding(matrix, dtype))
    replace_module(model, "lm_head", PackedLinear(matrix))


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one called `name`."""
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, module)


@torch.no_grad()
def _round(weight: Tensor, bits: Bits, memory: Arena) -> PackedMatrix:
    return round_matrix(weight.float().numpy(), bits, memory)


def _round_experts(
    experts: Experts, bits: Bits, memory: Arena
) -> list[tuple[PackedMatrix, PackedMatrix, PackedMatrix]]:
    rounded = []
    for gate_up, down in zip(experts.gate_up_proj, experts.down_proj, strict=True):
        gate, up = gate_up.chunk(2)
        gate, up, down = (_round(w, bits, memory) for w in (gate, up, down))
        rounded.append((gate, up, down))
    return rounded
