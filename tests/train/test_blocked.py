"""Attention in blocks of queries, and with shared kv heads, against torch's."""

import pytest
import torch
from torch.nn import functional as F

from codling.model.ops.attention import repeat_kv
from codling.model.ops.blocked import blocked_attention
from codling.model.ops.flash import flash_attention


@pytest.mark.parametrize("length", [1, 100, 128, 600])
def test_blocked_attention_and_its_gradients_equal_those_of_torch(length: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = qkv = [
        torch.randn(2, 3, length, 8, generator=generator).requires_grad_() for _ in range(3)
    ]
    ours = blocked_attention(q, k, v, 0.3)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
    torch.testing.assert_close(ours, theirs)
    for mine, expected in zip(
        torch.autograd.grad(ours.square().sum(), qkv),
        torch.autograd.grad(theirs.square().sum(), qkv),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize(("n_kv_heads", "width"), [(4, 8), (2, 8), (1, 5)])
def test_flash_attention_equals_the_one_in_blocks_with_copied_heads(
    n_kv_heads: int, width: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, 33, 8), (2, n_kv_heads, 33, 8), (2, n_kv_heads, 33, width)
    q, k, v = (torch.randn(shape, generator=generator).requires_grad_() for shape in shapes)
    k_copied, v_copied = (repeat_kv(x, 4 // n_kv_heads) for x in (k, v))
    ours, theirs = (
        flash_attention(q, k, v, None, 0.3),
        blocked_attention(q, k_copied, v_copied, 0.3),
    )
    torch.testing.assert_close(ours, theirs)
    for mine, expected in zip(
        torch.autograd.grad(ours.square().sum(), (q, k, v)),
        torch.autograd.grad(theirs.square().sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(mine, expected)
