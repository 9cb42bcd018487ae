"""The same weights give the same logits in transformers, for every published architecture."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.load import load_model
from codling.checkpoint.store import save_hf
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig
from codling.model.sizes import sizes
from codling.model.transformer import Transformer

transformers = pytest.importorskip("transformers")

DENSE = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    n_layers=2,
    n_heads=4,
    max_position=128,
    init_std=0.2,
)
LATENT = replace(
    DENSE,
    n_layers=3,
    mla=MLAConfig(kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12),
    moe=MoEConfig(
        n_routed_experts=8, n_shared_experts=2, n_experts_per_token=3, moe_intermediate_size=16
    ),
)
YARN = RopeConfig(scaling="yarn", factor=4.0, original_max_position=32)
ROPES = {
    "plain": RopeConfig(),
    "yarn-0.707": replace(YARN, mscale=0.707, mscale_all_dim=0.707),
    "yarn-1.0": replace(YARN, mscale=1.0, mscale_all_dim=1.0),
    "yarn-unequal": replace(YARN, mscale=0.707, mscale_all_dim=1.0),
}
ROUTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"topk_method": "greedy", "routed_scaling_factor": 1.0},
    "grouped": {
        "topk_method": "group_limited_greedy",
        "n_group": 4,
        "topk_group": 2,
        "routed_scaling_factor": 2.5,
    },
}


def assert_equal_logits(config: ModelConfig, folder: Path) -> None:
    """100 tokens: three times the original context where there is one."""
    model = Transformer(config, torch.Generator().manual_seed(1)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.normal_(0.0 if name.endswith("bias") else 1.0, 0.2)
    save_hf(model, config, folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.randint(0, 64, (2, 100), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours = model.logits(model(tokens))
        expected = theirs(tokens).logits
    assert expected.std() > 0.1, "the logits must differ for the comparison to mean anything"
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rope", ["none", "linear"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1], ids=["mha", "gqa", "mqa"])
def test_dense_models_equal_llama(tmp_path: Path, kv_heads: int, rope: str) -> None:
    scaling = RopeConfig(theta=1e5, scaling="linear", factor=4.0) if rope == "linear" else None
    config = replace(DENSE, n_kv_heads=kv_heads, rope=scaling or RopeConfig())
    assert_equal_logits(config, tmp_path)


def test_a_head_width_of_its_own_equals_llama(tmp_path: Path) -> None:
    assert_equal_logits(replace(DENSE, head_dim=12), tmp_path)


@pytest.mark.parametrize("tied", [False, True])
def test_biases_and_tied_embeddings_equal_qwen2(tmp_path: Path, tied: bool) -> None:
    config = replace(DENSE, n_kv_heads=2, attention_bias=True, tie_embeddings=tied)
    assert_equal_logits(config, tmp_path)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("head_dim", [8, 12])
def test_normed_queries_and_keys_equal_qwen3(tmp_path: Path, head_dim: int, tied: bool) -> None:
    shape = replace(DENSE, n_kv_heads=2, head_dim=head_dim, qk_norm=True, tie_embeddings=tied)
    assert_equal_logits(shape, tmp_path)
    again = load_model(tmp_path)
    assert again.config == shape
    assert again.n_parameters() == sizes(shape).total


def test_yarn_on_a_dense_model_equals_qwen2(tmp_path: Path) -> None:
    assert_equal_logits(replace(DENSE, attention_bias=True, rope=YARN), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("q_lora", "routing", "rope", "first_dense"),
    list(product([None, 20], ROUTINGS, ROPES, [0, 1, 2])),
)
def test_latent_attention_and_experts_equal_deepseek_v2(
    tmp_path: Path, q_lora: int | None, routing: str, rope: str, first_dense: int
) -> None:
    config = replace(
        LATENT,
        rope=ROPES[rope],
        mla=replace(LATENT.mla, q_lora_rank=q_lora),
        moe=replace(LATENT.moe, first_k_dense_replace=first_dense, **ROUTINGS[routing]),
    )
    assert_equal_logits(config, tmp_path)


def test_latent_attention_without_experts_equals_deepseek_v2(tmp_path: Path) -> None:
    assert_equal_logits(replace(LATENT, moe=None), tmp_path)
