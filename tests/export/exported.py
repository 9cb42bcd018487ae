"""Small models on disk in every shape that is exported, and what reads them back."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from codling.checkpoint.store import TokenIds, save_hf
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig
from codling.model.transformer import Transformer
from codling.tokens.bpe import train
from codling.tokens.families import SplitsName
from codling.tokens.template_files import preset_source
from tokens.token_samples import LINES

LLAMA = ModelConfig(
    vocab_size=352,
    hidden_size=64,
    intermediate_size=96,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    max_position=256,
    init_std=0.2,
    rope=RopeConfig(theta=1e5, scaling="linear", factor=4.0),
)
QWEN2 = replace(
    LLAMA,
    attention_bias=True,
    tie_embeddings=True,
    rope=RopeConfig(theta=1e6, scaling="yarn", factor=4.0, original_max_position=64),
)
QWEN3 = replace(LLAMA, qk_norm=True, tie_embeddings=True, head_dim=32, rope=RopeConfig())
LATENT = replace(
    LLAMA,
    n_layers=3,
    n_kv_heads=None,
    rope=RopeConfig(
        scaling="yarn", factor=4.0, original_max_position=64, mscale=0.707, mscale_all_dim=0.707
    ),
    mla=MLAConfig(
        kv_lora_rank=32, q_lora_rank=48, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=24
    ),
    moe=MoEConfig(
        n_routed_experts=6,
        n_shared_experts=2,
        n_experts_per_token=2,
        moe_intermediate_size=32,
        routed_scaling_factor=2.5,
    ),
)
LATENT_SHAPES = {
    "latent": LATENT,
    "latent-dense": replace(LATENT, moe=None, rope=RopeConfig()),
    "latent-normalised": replace(LATENT, moe=replace(LATENT.moe, norm_topk_prob=True)),
}
SHAPES = {"llama": LLAMA, "qwen2": QWEN2, "qwen3": QWEN3}
TOKENS = torch.arange(60).reshape(1, 60) * 5


def save(folder: Path, shape: ModelConfig, splits: SplitsName = "coder-v1") -> Transformer:
    """Write a random model and a tokenizer of 340 tokens to `folder`; returns the model."""
    folder.mkdir(parents=True)
    core = train(iter([LINES * 4]), 340, splits)
    (folder / "tokenizer.json").write_text(core.to_str(), encoding="utf-8")
    settings = {"chat_template": preset_source("codling"), "fim_mode": "spm"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    model = Transformer(shape, torch.Generator().manual_seed(3)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.normal_(1.0 if "norm" in name else 0.0, 0.2)
    model = model.bfloat16()
    last = core.get_vocab_size() - 1
    save_hf(model, shape, folder, ids=TokenIds(bos=last - 8, eos=last - 7))
    return model.float()


def logits_of(model: Transformer) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(TOKENS))
