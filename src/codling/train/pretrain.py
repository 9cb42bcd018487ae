"""The stage pretrain: packed tokens become a checkpoint.

Input: artefacts of kind "tokens" and "tokenizer". Output: an artefact of kind "checkpoint": a
folder that transformers loads unchanged (config.json, generation_config.json, model.safetensors in
bf16, the tokenizer's files) with metrics.jsonl beside it.

Not here: the loop (trainer.py), and continuing from a checkpoint (extend.py).
"""

from dataclasses import replace

import torch

from codling.checkpoint.settings import to_published
from codling.core.artifact import open_artifact
from codling.core.errors import ConfigError
from codling.core.inputs import tokenizer_input
from codling.core.stage import Work, stage
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.token_files import StreamMeta, read_meta
from codling.tokens.tokenizer import Tokenizer
from codling.train.config import PretrainConfig
from codling.train.parallel.ranks import join_ranks
from codling.train.run import counts_of, produce_on_ranks, publish_checkpoint, train_on_tokens

_DEFAULT_CONTEXT = 1024
"""Where neither the config nor the tokens say."""


@stage("checkpoint", version=2, produce=produce_on_ranks)
def pretrain(config: PretrainConfig) -> Work:
    """Train a model on packed tokens, resumably, into a checkpoint that transformers loads.

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
    to_published(shape)  # refuses, before any training, what could not be saved
    ranks = join_ranks()
    draft = yield [tokens, tokenizer_input(config.tokenizer_dir)]
    generator = torch.Generator().manual_seed(config.seed)
    model = Transformer(shape, generator)
    summary = train_on_tokens(
        model, config, config.tokens_dir, draft.path, ranks, config.balance_alpha
    )
    if ranks.is_main:
        publish_checkpoint(draft, model, shape, config.tokenizer_dir, meta.fim_mode)
        draft.counts |= {"parameters": model.n_parameters(), **counts_of(summary, meta)}


def model_shape(config: PretrainConfig, n_tokens: int, meta: StreamMeta) -> ModelConfig:
    """The model to train: the config's, with the tokenizer's vocabulary and the tokens' context."""
    if meta.vocab_size != n_tokens:
        raise ConfigError(
            f"the tokens in {config.tokens_dir} were made with a vocabulary of {meta.vocab_size}, "
            f"but {config.tokenizer_dir} has {n_tokens}; pack again with this tokenizer"
        )
    multiple = max(1, config.vocab_multiple)
    rows = -(-n_tokens // multiple) * multiple
    context = config.context or meta.context or _DEFAULT_CONTEXT
    return replace(config.model, vocab_size=rows, max_position=context)
