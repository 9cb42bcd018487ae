"""The stage pretrain: packed tokens become a checkpoint.

Input: artefacts of kind "tokens" and "tokenizer". Output: an artefact of kind "checkpoint": a
folder that transformers loads unchanged (config.json, generation_config.json, model.safetensors in
bf16, the tokenizer's files) with metrics.jsonl beside it.

It begins with random weights, or goes on with a checkpoint's (`start_from`).

Not here: the loop (trainer.py), and a longer context (extend.py).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

import torch

from codling.checkpoint.hub import local_path
from codling.checkpoint.settings import to_published
from codling.checkpoint.verify import check_files, model_input
from codling.core.artifact import open_artifact
from codling.core.errors import ConfigError
from codling.core.inputs import tokenizer_input
from codling.core.ranges import MAX_CONTEXT, Range
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.report.verdict import CURES, RunVerdict, describe_short
from codling.tokens.token_files import StreamMeta, check_tokenizer, read_meta
from codling.tokens.tokenizer import Tokenizer
from codling.train.config import ExpertsConfig, LoopConfig
from codling.train.parallel.mesh import parse_layout
from codling.train.parallel.ranks import join_ranks
from codling.train.run import (
    counts_of,
    produce_on_ranks,
    publish_checkpoint,
    train_on_tokens,
)
from codling.train.run_memory import foresee_memory

_DEFAULT_CONTEXT = 1024
"""Where neither the config nor the tokens say."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(LoopConfig):
    """Settings of pretrain."""

    tokens_dir: Path = aside(Path("runs/tokens"))
    """Artefact of kind "tokens"."""
    tokenizer_dir: Path = aside(Path("runs/tokenizer"))
    """Artefact of kind "tokenizer", or a published tokenizer's folder; its files are copied."""
    out_dir: Path = aside(Path("runs/checkpoint"))
    """Where the checkpoint goes."""
    start_from: Path | None = aside(None)
    """A checkpoint whose training goes on, with its weights and shape (`model` then counts for
    nothing) and a schedule that begins anew; by default training begins with random weights."""
    context: Annotated[int, Range(0, MAX_CONTEXT)] = 0
    """Tokens that the model sees at once; 0 takes what the tokens were packed for."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Shape of the model. Its vocab_size is taken from the tokenizer (see vocab_multiple), its
    max_position from `context`."""
    vocab_multiple: Annotated[int, Range(1, 1 << 20)] = 64
    """The model's vocabulary is the tokenizer's, rounded up to a multiple of this; 256 makes
    DeepSeek-Coder's 32256 of 32022."""
    parallel: str = aside("")
    """How the processes that torchrun starts share the model, such as fsdp=2,tp=2; by default each
    holds the whole and computes its rows. An unfinished run goes on in any layout."""
    rank_seconds: Annotated[float, Range(1, 1e6)] = aside(600.0)
    """Several processes: for how long one may keep the others waiting before training ends."""
    experts: ExpertsConfig = field(default_factory=ExpertsConfig)
    """How the load of routed experts is kept even."""

    RENAMED: ClassVar[dict[str, str]] = {"balance_alpha": "experts.expert_alpha"}


@stage("checkpoint", version=2, produce=produce_on_ranks)
def pretrain(config: PretrainConfig) -> Work:
    """Train a model on packed tokens, resumably, into a checkpoint that transformers loads.

    With --start-from CHECKPOINT its training goes on, at its context or a shorter one.

    Raises ConfigError if model, tokens and tokenizer do not fit together; SystemExit(143) after
    SIGTERM, with the state saved.

    Example:
        codling pretrain --tokens-dir runs/stdlib/tokens --tokenizer-dir runs/stdlib/tokenizer \
--out-dir runs/stdlib/checkpoint --minutes 5
    """
    tokens = open_artifact(config.tokens_dir, "tokens")
    tokenizer = Tokenizer.open(config.tokenizer_dir)
    meta = read_meta(config.tokens_dir)
    shape = model_shape(config, tokenizer.vocab_size, meta)
    check_tokenizer(config.tokens_dir, tokenizer, config.tokenizer_dir)
    to_published(shape)  # refuses, before any training, what could not be saved
    ranks = join_ranks(seconds=config.rank_seconds, alone=bool(config.parallel))
    layout = parse_layout(config.parallel, ranks.n_ranks) if config.parallel else None
    if layout is not None:
        layout.check(shape)
    start = config.start_from and local_path(config.start_from)
    begun = [] if start is None else [model_input(start)]
    draft = yield [tokens, tokenizer_input(config.tokenizer_dir), *begun]
    context = config.context or meta.context or shape.max_position
    if ranks.n_ranks == 1:
        foresee_memory(shape, config, context)
    if start is None:
        model = Transformer(shape, torch.Generator().manual_seed(config.seed))
    else:
        from codling.checkpoint.load import load_model  # which reads GGUF, too

        model = load_model(start)
    summary = train_on_tokens(
        model,
        config,
        config.tokens_dir,
        draft.path,
        ranks,
        config.experts,
        context=context,
        layout=layout,
    )
    if ranks.is_main:
        publish_checkpoint(draft, model, shape, config.tokenizer_dir, meta.fim_mode)
        draft.counts |= {"parameters": model.n_parameters(), **counts_of(summary, meta)}
        if fault := describe_short(summary.n_steps):
            draft.counts["headline"] = str(RunVerdict(False, fault, CURES))


def model_shape(config: PretrainConfig, n_tokens: int, meta: StreamMeta) -> ModelConfig:
    """The model to train: the config's, with the tokenizer's vocabulary and the tokens' context."""
    if meta.vocab_size != n_tokens:
        raise ConfigError(
            f"the tokens in {config.tokens_dir} were made with a vocabulary of {meta.vocab_size}, "
            f"but {config.tokenizer_dir} has {n_tokens}; pack again with this tokenizer"
        )
    if config.start_from is not None:
        return _continued_shape(config, config.start_from, n_tokens, meta)
    multiple = max(1, config.vocab_multiple)
    rows = -(-n_tokens // multiple) * multiple
    context = config.context or meta.context or _DEFAULT_CONTEXT
    return replace(config.model, vocab_size=rows, max_position=context)


def _continued_shape(
    config: PretrainConfig, checkpoint: Path, n_tokens: int, meta: StreamMeta
) -> ModelConfig:
    """The shape of the checkpoint that is gone on with, if tokens and tokenizer fit it."""
    from codling.checkpoint.load import load_config  # which reads GGUF, too

    path = local_path(checkpoint)
    check_files(path)
    shape = load_config(path)
    if n_tokens > shape.vocab_size:
        raise ConfigError(
            f"{config.tokenizer_dir} has {n_tokens} tokens, but {checkpoint} knows "
            f"{shape.vocab_size}; pack the tokens with the checkpoint's own tokenizer"
        )
    context = config.context or meta.context
    if context > shape.max_position:
        raise ConfigError(
            f"context is {context}, but {checkpoint} takes {shape.max_position} tokens; set "
            "another, or go on with codling extend"
        )
    return shape
