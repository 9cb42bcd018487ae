"""What adapt and tune share among processes, and what they refuse."""

from pathlib import Path

import pytest

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.posttrain.config import PosttrainConfig, TuneConfig
from codling.posttrain.sharing import choose_layout, refuse_layout
from codling.train.parallel.mesh import RankLayout
from codling.train.parallel.ranks import Ranks

BASE = Path("base")


def test_shard_is_a_short_word_for_fsdp() -> None:
    config = TuneConfig(model=BASE, shard=True)
    assert choose_layout(config, ModelConfig(), Ranks(0, 4)) == RankLayout(fsdp=4)
    assert choose_layout(config, ModelConfig(), Ranks()) is None
    named = TuneConfig(model=BASE, parallel="fsdp=2,cp=2")
    assert choose_layout(named, ModelConfig(), Ranks(0, 4)) == RankLayout(fsdp=2, cp=2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PosttrainConfig(model=BASE, parallel="pp=2"), "pp is for pretrain and extend"),
        (PosttrainConfig(model=BASE, parallel="tp=2"), "take fsdp, dp or cp, or --mode full"),
        (TuneConfig(model=BASE, parallel="cp=2", packing=False), "leave one of the two out"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_one_line(
    config: PosttrainConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_layout(config, ModelConfig(), Ranks(0, 2))


def test_verbs_that_hold_whole_models_say_so() -> None:
    with pytest.raises(ConfigError, match="grpo holds the whole model in every process"):
        refuse_layout(PosttrainConfig(model=BASE, parallel="fsdp=2"), "grpo")
