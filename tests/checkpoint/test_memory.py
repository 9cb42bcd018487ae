"""Loading holds the weights once: peak resident memory is measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from codling.checkpoint.store import save_hf
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=40_000, hidden_size=512, intermediate_size=2_048, n_layers=4, n_heads=8
)
"""58 million parameters: 231 MB in fp32."""
MEASURE = """
import sys
from pathlib import Path
import torch
from codling.checkpoint.load import load_model

def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(l.split()[1]) * 1024 for l in lines if l.startswith(key))

Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
model = load_model(Path(sys.argv[1]), dtype=getattr(torch, sys.argv[2]))
weights = sum(p.numel() * p.element_size() for p in model.parameters())
touched = sum(float(p.detach().sum()) for p in model.parameters())
print((resident("VmHWM") - before) / weights)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    with torch.device("meta"):
        model = Transformer(CONFIG)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    save_hf(model, CONFIG, path, dtype=torch.bfloat16, max_shard_bytes=100_000_000)
    return path


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_loading_takes_at_most_15_percent_more_than_the_weights(folder: Path, dtype: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), dtype],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) <= 1.15
