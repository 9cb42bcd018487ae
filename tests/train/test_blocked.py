"""Attention in blocks of queries against torch's."""

import pytest
import torch
from torch.nn import functional as F

from codling.model.ops.blocked import blocked_attention


@pytest.mark.parametrize("length", [1, 100, 128, 600])
def test_blocked_attention_and_its_gradients_equal_those_of_torch(length: int) -> None:
    generator = torch.Generator().manual_seed(0)
    qkv = [torch.randn(2, 3, length, 8, generator=generator).requires_grad_() for _ in range(3)]
    ours = blocked_attention(*qkv, 0.3)
    theirs = F.scaled_dot_product_attention(*qkv, is_causal=True, scale=0.3)
    torch.testing.assert_close(ours, theirs)
    for mine, expected in zip(
        torch.autograd.grad(ours.square().sum(), qkv),
        torch.autograd.grad(theirs.square().sum(), qkv),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected)
