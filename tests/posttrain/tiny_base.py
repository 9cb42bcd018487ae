"""Shapes of the models that tests train on."""

from codling.model.config import MLAConfig, ModelConfig

SHAPE = ModelConfig(
    vocab_size=448,
    hidden_size=32,
    intermediate_size=64,
    n_layers=2,
    n_heads=2,
    max_position=256,
    tie_embeddings=True,
    init_std=0.1,
)
LATENT = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    n_layers=2,
    n_heads=4,
    max_position=64,
    init_std=0.2,
    mla=MLAConfig(
        kv_lora_rank=16, q_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12
    ),
)
