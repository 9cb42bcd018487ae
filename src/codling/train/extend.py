"""The stage extend: a checkpoint learns a longer context.

Input: an artefact of kind "checkpoint" (or a Hugging Face folder), tokens made with its tokenizer.
Output: a checkpoint whose rotary positions are stretched and whose weights are trained on long
windows.

DeepSeek-Coder: linear, theta 1e5, factor 4, 1000 steps at 16K. DeepSeek-V2: YaRN, factor 40, 1000
steps at 32K (arXiv:2405.04434, section 3.1.4).

Not here: the loop (trainer.py).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from codling.checkpoint.load import load_model
from codling.checkpoint.verify import model_input
from codling.core.artifact import open_artifact
from codling.core.errors import ConfigError
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.token_files import read_meta
from codling.train.config import LoopConfig
from codling.train.parallel.ranks import join_ranks
from codling.train.run import counts_of, produce_on_ranks, publish_checkpoint, train_on_tokens


@dataclass(frozen=True, kw_only=True)
class ExtendConfig(LoopConfig):
    """Settings of extend."""

    checkpoint_dir: Path = aside(Path("runs/checkpoint"))
    """Checkpoint whose context is extended."""
    tokens_dir: Path = aside(Path("runs/tokens"))
    """Artefact of kind "tokens" made with the checkpoint's tokenizer, best packed by document."""
    out_dir: Path = aside(Path("runs/extended"))
    """Where the new checkpoint goes."""
    context: int = 4096
    """The new context in tokens."""
    scaling: Literal["linear", "yarn"] = "linear"
    """linear: DeepSeek-Coder's way to 16K (theta 1e5, factor 4); yarn: DeepSeek-V2's."""
    factor: float | None = None
    """How far positions are stretched; by default new context / old context."""
    theta: float | None = None
    """Base of the rotary wavelengths; by default the checkpoint's."""


@stage("checkpoint", version=1, produce=produce_on_ranks)
def extend(config: ExtendConfig) -> Work:
    """Continue training a checkpoint on longer windows, with its positions stretched.

    Raises ConfigError if the new context is not longer than the old.

    Example:
        codling extend --checkpoint-dir runs/stdlib/checkpoint --context 4096 \
--tokens-dir runs/stdlib/long-tokens --out-dir runs/stdlib/extended
    """
    tokens = open_artifact(config.tokens_dir, "tokens")
    meta = read_meta(config.tokens_dir)
    ranks = join_ranks()
    draft = yield [model_input(config.checkpoint_dir), tokens]
    old = load_model(config.checkpoint_dir)
    if meta.vocab_size > old.config.vocab_size:
        raise ConfigError(
            f"the tokens in {config.tokens_dir} have ids up to {meta.vocab_size - 1}, but the "
            f"model knows {old.config.vocab_size}; pack again with the checkpoint's tokenizer"
        )
    shape = extend_positions(old.config, config)
    model = Transformer(shape)
    model.load_state_dict(old.state_dict())
    summary = train_on_tokens(model, config, config.tokens_dir, draft.path, ranks)
    if ranks.is_main:
        publish_checkpoint(draft, model, shape, config.checkpoint_dir, meta.fim_mode)
        draft.counts |= {"parameters": model.n_parameters(), **counts_of(summary, meta)}


def extend_positions(old: ModelConfig, config: ExtendConfig) -> ModelConfig:
    """The shape of the model with its positions stretched to the new context."""
    factor = config.factor or config.context / old.max_position
    if config.context <= old.max_position or factor <= 1:
        raise ConfigError(
            f"extend.context is {config.context} and the factor {factor:g}, but the checkpoint "
            f"already takes {old.max_position} tokens; choose a longer context"
        )
    if old.rope.scaling != "none":
        raise ConfigError(
            f"{config.checkpoint_dir} is stretched already ({old.rope.scaling}); "
            "extend the checkpoint that it was made from"
        )
    rope = replace(
        old.rope,
        theta=config.theta or old.rope.theta,
        scaling=config.scaling,
        factor=factor,
        original_max_position=old.max_position,
    )
    return replace(old, rope=rope, max_position=config.context)
