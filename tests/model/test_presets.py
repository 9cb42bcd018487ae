"""The published models, counted without weights."""

from typing import Any

import pytest
import torch

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.model.presets import PRESETS, preset
from codling.model.sizes import flops_per_token, sizes
from codling.model.transformer import Transformer

PUBLISHED = {
    "coder-1.3b": 1_346_471_936,
    "coder-5.7bmqa": 5_700_325_376,
    "coder-6.7b": 6_740_512_768,
    "coder-33b": 33_342_991_360,
    "coder-7b-v1.5": 6_910_365_696,
    "llm-67b": 67_425_001_472,
    "v2-lite": 15_706_484_224,
    "coder-v2-lite": 15_706_484_224,
    "v2": 235_741_434_880,
    "coder-v2": 235_741_434_880,
}
KV_ELEMENTS = {
    "coder-1.3b": 98_304,
    "coder-6.7b": 262_144,
    "coder-33b": 126_976,
    "llm-67b": 194_560,
    "v2-lite": 15_552,
    "v2": 34_560,
}


@pytest.mark.long
@pytest.mark.parametrize("name", PRESETS)
def test_counts_equal_a_model_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        model = Transformer(PRESETS[name])
    assert sizes(PRESETS[name]).total == model.n_parameters()
    assert model.n_parameters() == PUBLISHED.get(name, model.n_parameters())


@pytest.mark.parametrize("name", KV_ELEMENTS)
def test_cache_elements_equal_the_published_ones(name: str) -> None:
    assert sizes(PRESETS[name]).kv_elements == KV_ELEMENTS[name]


def test_active_parameters_equal_the_published_ones() -> None:
    assert sizes(PRESETS["v2-lite"]).active == 2_451_435_008
    assert sizes(PRESETS["v2"]).active == 20_851_512_320


def test_one_token_costs_two_operations_per_weight_and_attention() -> None:
    config = ModelConfig(vocab_size=10, hidden_size=4, intermediate_size=8, n_layers=1, n_heads=1)
    # 4 projections of 4 x 4, 3 of 4 x 8, output 4 x 10, 3 norms of 4; context 3: 2 x (4 + 4) x 3.
    assert flops_per_token(config, 3) == 2 * (64 + 96 + 40 + 12) + 48


def test_a_preset_answers_to_its_published_name() -> None:
    assert preset("deepseek-ai/deepseek-coder-6.7b-instruct") is PRESETS["coder-6.7b"]
    assert preset("DeepSeek-Coder-V2-Lite-Base") is PRESETS["coder-v2-lite"]


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean coder-6\.7b\?"):
        preset("coder-6.7")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_size": 100, "n_heads": 3}, "not a multiple of n_heads 3"),
        ({"n_heads": 2, "n_kv_heads": 4}, "not a multiple of n_kv_heads 4"),
        ({"head_dim": 7}, "even head width"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**wrong)
