"""A small token stream, its tokenizer, and settings that train in a second."""

import email
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codling.core.artifact import Artifact, Draft, produce
from codling.core.shards import Shard
from codling.corpus.tables.schemas import SAMPLE_SCHEMA
from codling.model.config import ModelConfig
from codling.tokens.bpe import TokenizerConfig, learn_tokenizer
from codling.tokens.pack import PackConfig, pack
from codling.train.pretrain import PretrainConfig

SOURCES = Path(email.__file__).parent
"""Not our own package: what is trained on would change with every commit, and with it whether two
nearly equal numbers are on the same side."""


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A package of the standard library: real code, the last file held out."""
    files = sorted(SOURCES.glob("*.py"))
    rows = [_row(p, "heldout" if p == files[-1] else "train") for p in files]

    def work(draft: Draft) -> None:
        Shard(draft.path, 0).write_rows("samples", rows, SAMPLE_SCHEMA)

    folder = tmp_path_factory.mktemp("train") / "samples"
    return produce(folder, kind="samples", version=1, config={}, inputs=[], work=work)


def _row(path: Path, split: str) -> dict[str, Any]:
    return {
        "id": path.stem,
        "source": "codling",
        "repo": "codling",
        "split": split,
        "paths": [path.name],
        "languages": ["Python"],
        "licenses": ["MIT"],
        "sha256s": ["0" * 64],
        "starts": [0],
        "content": path.read_text(encoding="utf-8"),
    }


@pytest.fixture(scope="session")
def tokenizer_dir(samples: Artifact) -> Path:
    out_dir = samples.path.with_name("tokenizer")
    config = TokenizerConfig(samples_dir=samples.path, out_dir=out_dir, vocab_size=400)
    return learn_tokenizer(config).path


@pytest.fixture(scope="session")
def tokens_dir(samples: Artifact, tokenizer_dir: Path) -> Path:
    config = PackConfig(
        samples_dir=samples.path,
        tokenizer_dir=tokenizer_dir,
        out_dir=samples.path.with_name("tokens"),
        context=64,
    )
    return pack(config).path


@pytest.fixture(scope="session")
def small_model() -> ModelConfig:
    return ModelConfig(hidden_size=32, intermediate_size=64, n_layers=2, n_heads=2, init_std=0.02)


@pytest.fixture
def pretrain_config(
    tokens_dir: Path, tokenizer_dir: Path, small_model: ModelConfig, tmp_path: Path
) -> Callable[..., PretrainConfig]:
    def config(**changes: Any) -> PretrainConfig:
        settings: dict[str, Any] = {
            "tokens_dir": tokens_dir,
            "tokenizer_dir": tokenizer_dir,
            "out_dir": tmp_path / "checkpoint",
            "model": small_model,
            "max_steps": 8,
            "batch_size": 4,
            "threads": 1,
            "compile": False,
            "heldout_tokens": 256,
            "n_heldout_evals": 2,
        }
        return PretrainConfig(**(settings | changes))

    return config
