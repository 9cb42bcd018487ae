"""config.json, read and written."""

from dataclasses import replace
from typing import Any

import pytest

from codling.checkpoint.settings import from_published, to_published
from codling.core.errors import CheckpointError
from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.presets import PRESETS

V2_LITE = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "aux_loss_alpha": 0.001,
    "bos_token_id": 100000,
    "eos_token_id": 100001,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 10944,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v2",
    "moe_intermediate_size": 1408,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 16,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 27,
    "num_key_value_heads": 16,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 40,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
        "original_max_position_embeddings": 4096,
        "type": "yarn",
    },
    "rope_theta": 10000,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "seq_aux": True,
    "tie_word_embeddings": False,
    "topk_group": 1,
    "topk_method": "gready",
    "v_head_dim": 128,
    "vocab_size": 102400,
}
CODER_1_3B = {
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 5504,
    "max_position_embeddings": 16384,
    "model_type": "llama",
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "num_key_value_heads": 16,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"factor": 4.0, "type": "linear"},
    "rope_theta": 100000,
    "tie_word_embeddings": False,
    "vocab_size": 32256,
}


@pytest.mark.parametrize(
    ("published", "name"), [(V2_LITE, "v2-lite"), (CODER_1_3B, "coder-1.3b")], ids=["lite", "1.3b"]
)
def test_a_published_config_is_its_preset(published: dict[str, Any], name: str) -> None:
    assert from_published(published, "x") == replace(PRESETS[name], init_std=0.02)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_writing_and_reading(name: str) -> None:
    config = PRESETS[name]
    back = from_published(to_published(config), "x")
    # None means a default, which the file spells out.
    assert replace(back, head_dim=config.head_dim, n_kv_heads=config.n_kv_heads) == config


def test_rope_parameters_as_transformers_5_writes_them_are_read() -> None:
    new = {k: v for k, v in CODER_1_3B.items() if not k.startswith("rope")}
    new["rope_parameters"] = {"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0}
    assert from_published(new, "x") == from_published(CODER_1_3B, "x")
    new["rope_parameters"] = {"rope_type": "default", "rope_theta": 100000.0}
    assert from_published(new, "x").rope.scaling == "none"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ModelConfig(moe=MoEConfig()), "experts without latent attention"),
        (ModelConfig(mla=MLAConfig(), attention_bias=True), "latent attention with biases"),
    ],
)
def test_a_shape_that_nobody_has_published_cannot_be_saved(
    config: ModelConfig, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        to_published(config)
