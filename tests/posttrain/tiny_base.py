"""The shape of the base that tests adapt."""

from codling.model.config import ModelConfig

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
