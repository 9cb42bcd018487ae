"""Every way that `attend` may choose equals attention by its definition."""

import pytest
import torch

from codling.model.cache import KVCache, Span
from codling.model.config import ModelConfig
from codling.model.ops.attention import attend, attend_plain

CONFIG = ModelConfig(vocab_size=8, hidden_size=8, n_layers=1, n_heads=1, intermediate_size=8)


def span_of(lengths: list[int], n_new: int) -> Span:
    cache = KVCache.allocate(CONFIG, len(lengths), 32)
    cache.advance(torch.tensor(lengths))
    return cache.span(n_new)


@pytest.mark.parametrize("n_heads", [2, 6], ids=["one query per key", "three per key"])
@pytest.mark.parametrize(
    ("span", "n_new"),
    [
        (None, 9),
        (span_of([0, 0], 9), 9),
        (span_of([7, 7], 1), 1),
        (span_of([7, 3], 1), 1),
        (span_of([7, 3], 4), 4),
    ],
    ids=["no cache", "empty rows", "one token", "one token, unequal rows", "a chunk"],
)
@pytest.mark.parametrize("v_width", [8, 5], ids=["as wide", "narrow values"])
@pytest.mark.parametrize("trains", [False, True])
def test_attend_equals_its_definition(
    span: Span | None, n_new: int, n_heads: int, v_width: int, trains: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    n_slots = n_new if span is None else span.n_visible
    q = torch.randn(2, n_heads, n_new, 8, generator=generator).requires_grad_(trains)
    k = torch.randn(2, 2, n_slots, 8, generator=generator)
    v = torch.randn(2, 2, n_slots, v_width, generator=generator)
    torch.testing.assert_close(attend(q, k, v, span, 0.3), attend_plain(q, k, v, span, 0.3))
