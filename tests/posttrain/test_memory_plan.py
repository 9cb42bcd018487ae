"""The memory that a plan says is the memory that the adaptation takes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from codling.checkpoint.store import save_hf
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.posttrain.adapt import AdaptConfig
from codling.posttrain.plan import plan

SHAPE = ModelConfig(
    vocab_size=448,
    hidden_size=320,
    intermediate_size=896,
    n_layers=12,
    n_heads=5,
    max_position=256,
    tie_embeddings=True,
    init_std=0.02,
)
RUN = """
import json, resource, sys
from pathlib import Path
from codling.posttrain.adapt import adapt
from codling.posttrain.adapt import AdaptConfig
settings = json.loads(sys.argv[1])
adapt(AdaptConfig(**{k: Path(v) if k in ("model", "tokens_dir", "out_dir") else v
                     for k, v in settings.items()}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture
def large_base(base_dir: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    save_hf(Transformer(SHAPE, torch.Generator().manual_seed(3)), SHAPE, folder)
    for path in base_dir.glob("tokenizer*.json"):
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "precision", "compiles", "recompute"),
    [
        ("lora", "bf16", True, False),
        ("lora", "bf16", False, False),
        ("lora", "fp32", False, False),
        ("full", "bf16", False, False),
        ("lora", "fp32", False, True),
        ("lora", "fp32", True, True),
        ("lora", "bf16", True, True),
        ("lora", "bf16", False, True),
    ],
)
def test_the_peak_of_a_run_is_within_fifteen_percent_of_its_plan(
    adapt_config: Callable[..., AdaptConfig],
    large_base: Path,
    tmp_path: Path,
    mode: str,
    precision: str,
    compiles: bool,
    recompute: bool,
) -> None:
    settings = {
        "model": str(large_base),
        "tokens_dir": str(adapt_config().tokens_dir),
        "out_dir": str(tmp_path / "out"),
        "mode": mode,
        "precision": precision,
        "compile": compiles,
        "recompute": recompute,
        "context": 256,
        "batch_size": 12,
        "max_steps": 3,
        "threads": 2,
        "device": "cpu",
        "heldout_tokens": 3072,
        "n_heldout_evals": 1,
    }
    planned = plan(SHAPE, AdaptConfig(**settings), 256).n_bytes  # type: ignore[arg-type]
    command = [sys.executable, "-c", RUN, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = int(done.stdout.splitlines()[-1])
    assert peak == pytest.approx(planned, rel=0.15), f"{planned / 1e6:.0f} {peak / 1e6:.0f} MB"
