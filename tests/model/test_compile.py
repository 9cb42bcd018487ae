"""The training pass has no graph breaks; the compiler's own backends are not tested here."""

from dataclasses import replace

import pytest
import torch

from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.transformer import Transformer

DENSE = ModelConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, n_layers=1, n_heads=4, max_position=64
)
LATENT = replace(
    DENSE,
    n_layers=2,
    mla=MLAConfig(kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12),
    moe=MoEConfig(n_routed_experts=8, n_experts_per_token=3, moe_intermediate_size=16),
)


@pytest.mark.long
@pytest.mark.parametrize(
    "config",
    [pytest.param(DENSE, id="dense", marks=pytest.mark.slow), pytest.param(LATENT, id="latent")],
)
def test_the_training_pass_is_one_graph(config: ModelConfig) -> None:
    model = Transformer(config, torch.Generator().manual_seed(0))
    tokens = torch.arange(40).reshape(2, 20)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens), model(tokens))
    compiled(tokens).square().mean().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if "lm_head" not in n)
