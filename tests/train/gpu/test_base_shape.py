"""The base model's real shape, with random weights: they fit the way back and stay the same."""

from pathlib import Path

import pytest
import torch
from weight_files import read_weights, write_weights

from codling.core.recipe import build, read_recipe
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer

RECIPE = Path(__file__).parents[3] / "recipes" / "base.toml"
MAX_FILES, MAX_BYTES = 6, 16 << 20
"""Eight files come back, of which two are the metrics and the log."""


@pytest.mark.slow
def test_the_weights_of_the_base_model_come_back_in_the_files_that_are_allowed(
    tmp_path: Path,
) -> None:
    recipe = read_recipe(RECIPE)
    values = recipe["pretrain"]["model"] | {"vocab_size": recipe["tokenizer"]["vocab_size"]}
    shape = build(ModelConfig, values, "model")
    ours, other = (Transformer(shape, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    paths = write_weights(ours, tmp_path, step=1)
    assert len(paths) <= MAX_FILES
    assert max(path.stat().st_size for path in paths) <= MAX_BYTES
    assert read_weights(tmp_path, other) == [1]
    assert 25e6 <= other.n_parameters() <= 60e6
    for mine, theirs in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine.bfloat16().float(), theirs)
