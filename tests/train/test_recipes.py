"""The recipes say what the papers say."""

from pathlib import Path

import pytest

from codling.core.recipe import build, read_recipe
from codling.model.sizes import sizes
from codling.train.pretrain import PretrainConfig
from codling.train.schedule import rate_at

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def recipe(name: str) -> PretrainConfig:
    path = RECIPES / name
    return build(PretrainConfig, read_recipe(path)["pretrain"], str(path))


PRETRAINING = [p for p in sorted(RECIPES.glob("*.toml")) if "pretrain" in read_recipe(p)]


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda p: p.name)
def test_every_recipe_is_a_valid_config(path: Path) -> None:
    assert recipe(path.name).batch_size > 0


def test_the_1b_recipe_is_deepseek_coder_1_3b() -> None:
    config = recipe("1b.toml")
    rows = -(-32022 // config.vocab_multiple) * config.vocab_multiple
    assert rows == 32256
    per_row = 2 * config.model.hidden_size
    assert sizes(config.model).total + per_row * (rows - config.model.vocab_size) == 1_346_471_936
    assert rate_at(config.max_steps - 1, config.max_steps, config.schedule) == pytest.approx(0.1)


def test_the_lite_recipe_has_the_parameters_of_v2_lite() -> None:
    config = recipe("lite-moe.toml")
    rows = -(-100002 // config.vocab_multiple) * config.vocab_multiple
    assert rows == 102400
    per_row = 2 * config.model.hidden_size
    assert sizes(config.model).total + per_row * (rows - config.model.vocab_size) == 15_706_484_224
