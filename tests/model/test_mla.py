"""Latent attention: absorbed equals expanded, and what it stores."""

import pytest
import torch

from codling.model.cache import KVCache
from codling.model.config import MLAConfig, ModelConfig, RopeConfig
from codling.model.mla import MLA
from codling.model.rope import Rope

CONFIG = ModelConfig(
    hidden_size=64,
    n_layers=1,
    n_heads=4,
    max_position=64,
    rope=RopeConfig(scaling="yarn", factor=40.0, mscale=0.707, mscale_all_dim=0.707),
    mla=MLAConfig(kv_lora_rank=24, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12),
)


@torch.no_grad()
@pytest.mark.parametrize("n_new", [1, 4])
def test_absorbed_equals_expanded(n_new: int) -> None:
    torch.manual_seed(0)
    mla, rope = MLA(CONFIG, 0).eval(), Rope(CONFIG)
    cache = KVCache.allocate(CONFIG, 2, 32)
    x = torch.randn(2, 20, 64)
    mla(x, rope.span(0, 20), cache, cache.span(20))
    cache.advance(torch.tensor([20, 13]))
    span = cache.span(n_new)
    new = torch.randn(2, n_new, 64)
    rotation = rope.at(span.positions_BL)
    queries = mla._queries(new, rotation)
    (latents,) = cache.write(0, span, mla._latents(new, rotation))
    latents_BSC = latents.squeeze(1)
    absorbed = mla._attend_absorbed(*queries, latents_BSC, span.bias)
    expanded = mla._attend_expanded(*queries, latents_BSC, span)
    torch.testing.assert_close(absorbed, expanded, rtol=0, atol=1e-5)


def test_the_cache_holds_the_latent_and_the_rotated_key_and_nothing_else() -> None:
    cache = KVCache.allocate(CONFIG, 1, 10)
    assert [t.shape for store in cache.stores for t in store] == [(1, 1, 10, 24 + 8)]


def test_expanding_pays_off_from_so_many_new_tokens_on() -> None:
    # Published widths: 512 x (128 + 128) / (2 x 512 - 256) = 170.67.
    published = ModelConfig(hidden_size=64, n_heads=4, mla=MLAConfig())
    with torch.device("meta"):
        assert MLA(published, 0).absorb_below == 170


def test_the_softmax_scale_is_corrected_twice() -> None:
    # FACTS of the published configs: 192^-0.5 is 0.072169; with YaRN 40 it becomes these.
    def scale(m: float) -> float:
        rope = RopeConfig(scaling="yarn", factor=40.0, mscale=m, mscale_all_dim=m)
        return ModelConfig(mla=MLAConfig(), rope=rope).softmax_scale

    assert scale(0.707) == pytest.approx(0.114721, abs=1e-6)
    assert scale(1.0) == pytest.approx(0.135234, abs=1e-6)
    assert ModelConfig(mla=MLAConfig()).softmax_scale == pytest.approx(0.072169, abs=1e-6)
