"""A tiny base as a Hugging Face folder, and tokens of its own tokenizer in its FIM order."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.store import save_hf
from codling.core.artifact import Artifact
from codling.model.transformer import Transformer
from codling.posttrain.adapt import AdaptConfig
from codling.tokens.pack import PackConfig, pack
from posttrain.tiny_base import SHAPE
from train.conftest import samples, tokenizer_dir  # noqa: F401


@pytest.fixture(scope="session")
def base_dir(tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A checkpoint from elsewhere: no manifest."""
    folder = tmp_path_factory.mktemp("base") / "model"
    save_hf(Transformer(SHAPE, torch.Generator().manual_seed(3)), SHAPE, folder)
    for path in tokenizer_dir.glob("tokenizer*.json"):
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def tokens_dir(samples: Artifact, base_dir: Path) -> Path:  # noqa: F811
    config = PackConfig(
        samples_dir=samples.path,
        tokenizer_dir=base_dir,
        out_dir=base_dir.with_name("tokens"),
        context=64,
        fim_spm_share=0.0,
    )
    return pack(config).path


@pytest.fixture
def adapt_config(base_dir: Path, tokens_dir: Path, tmp_path: Path) -> Callable[..., AdaptConfig]:
    def config(**changes: Any) -> AdaptConfig:
        settings: dict[str, Any] = {
            "model": base_dir,
            "tokens_dir": tokens_dir,
            "out_dir": tmp_path / "out",
            "rank": 4,
            "alpha": 8.0,
            "max_steps": 12,
            "threads": 1,
            "compile": False,
            "device": "cpu",
            "heldout_tokens": 512,
            "n_heldout_evals": 3,
        }
        return AdaptConfig(**(settings | changes))

    return config
