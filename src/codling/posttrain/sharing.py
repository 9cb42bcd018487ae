"""Which layouts of processes the verbs that train a published model take.

Input: their settings and the processes that torchrun started. Output: a RankLayout, or ConfigError
in one line for what they cannot share.

Not here: how a model is shared (train/parallel/).
"""

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.posttrain.config import PosttrainConfig, TuneConfig
from codling.train.parallel.mesh import RankLayout, parse_layout
from codling.train.parallel.ranks import Ranks, join_ranks
from codling.train.run import check_rows


def join_layout(
    config: PosttrainConfig, shape: ModelConfig, context: int
) -> tuple[Ranks, RankLayout | None]:
    """This process among those that torchrun started, and how they share the model.

    Raises ConfigError if they cannot, or cannot share batches of windows of `context` tokens.
    """
    ranks = join_ranks(seconds=config.rank_seconds, alone=bool(config.parallel))
    layout = choose_layout(config, shape, ranks)
    ranks = ranks if layout is None else layout.place(ranks)
    check_rows(config, ranks, layout, context)
    return ranks, layout


def choose_layout(config: PosttrainConfig, shape: ModelConfig, ranks: Ranks) -> RankLayout | None:
    """How the processes of `adapt` and `tune` share the model; None: each has the whole."""
    words = config.parallel
    if isinstance(config, TuneConfig) and config.shard and not words and ranks.n_ranks > 1:
        words = f"fsdp={ranks.n_ranks}"
    if not words:
        return None
    layout = parse_layout(words, ranks.n_ranks)
    if layout.pp > 1:
        raise ConfigError(
            "parallel: pp is for pretrain and extend, whose windows hold one document each and "
            "whose weights are all trained; take fsdp, dp, cp or tp"
        )
    if config.mode == "lora" and (layout.tp > 1 or layout.ep > 1):
        raise ConfigError(
            "parallel: tp and ep cut the matrices that LoRA's lie beside; take fsdp, dp or cp, or "
            "--mode full"
        )
    if isinstance(config, TuneConfig) and layout.cp > 1 and not config.packing:
        raise ConfigError(
            "parallel: cp cuts windows of one length, and --no-packing makes them as long as "
            "their dialogues; leave one of the two out"
        )
    layout.check(shape)
    return layout


def refuse_layout(config: PosttrainConfig, verb: str) -> None:
    """ConfigError if a verb is asked to share a model that it does not share."""
    if config.parallel:
        raise ConfigError(
            f"parallel: {verb} holds the whole model in every process; leave --parallel out"
        )
