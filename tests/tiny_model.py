"""A random model of two layers and its tokenizer of 320 tokens; conftest makes fixtures of them."""

import json

import torch

from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.bpe import train
from codling.tokens.tokenizer import Tokenizer

CODE = "def add(a, b):\n    return a + b\n\n\nclass Point:\n    x: int = 0\n# 漢字 👩‍💻\n"
CONFIG = ModelConfig(
    vocab_size=320,
    hidden_size=32,
    intermediate_size=64,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    max_position=512,
    init_std=0.4,
)


def make_tokenizer() -> Tokenizer:
    return Tokenizer(json.loads(train(iter([CODE * 20]), CONFIG.vocab_size).to_str()))


def make_model() -> Transformer:
    return Transformer(CONFIG, torch.Generator().manual_seed(5))
