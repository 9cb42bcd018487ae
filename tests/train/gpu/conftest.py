"""The scripts of tools/gpu, a recipe of their kind that trains in seconds, and the packed parts."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

from gpu_machine import TOOLS

sys.path.insert(0, str(TOOLS))

RECIPE = """
[pretrain]
batch_size = 8
vocab_multiple = 128
compile = false
threads = 1

[pretrain.model]
hidden_size = 32
intermediate_size = 64
n_layers = 2
n_heads = 2
n_kv_heads = 1
head_dim = 16
qk_norm = true
tie_embeddings = true

[pretrain.schedule]
name = "wsd"
warmup_steps = 10
decay_from = 0.6
"""


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gpu") / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def parts(tokens_dir: Path, tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pack_parts import pack

    out = tmp_path_factory.mktemp("gpu") / "parts"
    pack(tokens_dir, tokenizer_dir, out, 40_000, Namespace(block_tokens=5000, workers=1))
    return out
