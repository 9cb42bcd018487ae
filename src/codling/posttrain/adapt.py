"""The stage adapt: a published model learns a repository.

Input: a base (Hugging Face folder or GGUF file) and tokens packed with its own tokenizer, so with
its own FIM marks. Output: with LoRA an artefact of kind "adapter" in peft's format; with all
weights trained (`--mode full`) one of kind "checkpoint". Either way the weights are those that did
best on a part of the training text that was set aside; the base's own weights included.

Not here: the loop (train/trainer.py), what is trained and written (weights.py), and what it costs
(plan.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_config
from codling.checkpoint.settings import to_published
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.checkpoint.verify import check_files, model_input
from codling.core.artifact import open_artifact
from codling.core.errors import ConfigError
from codling.core.log import say
from codling.core.memory import available_share
from codling.core.ranges import MAX_CONTEXT, ProperShare, Range
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.model.config import ModelConfig
from codling.posttrain.config import PosttrainConfig
from codling.posttrain.plan import RankShare, check_memory
from codling.posttrain.sharing import join_layout
from codling.posttrain.weights import (
    check_vocabulary,
    kind_of,
    prepare,
    publish,
    validation_bits,
)
from codling.tokens.token_files import StreamMeta, check_tokenizer, read_meta
from codling.train.run import counts_of, produce_on_ranks, train_on_tokens

_DEFAULT_CONTEXT = 512
"""Used where neither the config nor the tokens say."""


@dataclass(frozen=True, kw_only=True)
class AdaptConfig(PosttrainConfig):
    """Settings of adapt."""

    tokens_dir: Path = aside(Path("runs/tokens"))
    """Artefact of kind "tokens", packed with the base's own tokenizer (codling adopt)."""
    out_dir: Path = aside(Path("runs/adapter"))
    """Where the adapter goes, or with --mode full the checkpoint."""
    context: Annotated[int, Range(0, MAX_CONTEXT)] = 0
    """Tokens that the model sees at once; 0 takes what the tokens were packed for, or 512."""
    validation_share: Annotated[float, Range(0, 0.5, above=True)] = 0.05
    """Share of the training text that is set aside: the weights that do best on it are kept."""
    replay_dir: Path | None = aside(None)
    """Tokens of other code, packed with the same tokenizer, against forgetting."""
    replay_share: ProperShare = 0.15
    """Share of the windows that come from replay_dir."""


@stage(kind_of, version=1, produce=produce_on_ranks)
def adapt(config: AdaptConfig) -> Work:
    """Adapt a published model to packed tokens, resumably: an adapter, or with --mode full all
    weights.

    Raises ConfigError if tokens and base do not fit together, or the memory is too small, with what
    would fit; SystemExit(143) after SIGTERM, with the state saved.

    Example:
        codling adapt --model qwen2.5-coder-0.5b.gguf --tokens-dir runs/app/tokens \
--out-dir runs/app/adapter --minutes 30
    """
    path = local_path(config.model)
    check_files(path)
    shape, meta = load_config(path), read_meta(config.tokens_dir)
    tokens = open_artifact(config.tokens_dir, "tokens")
    _check_tokens(config, path, shape, meta)
    context = min(config.context or meta.context or _DEFAULT_CONTEXT, shape.max_position)
    inputs = [model_input(path), tokens]
    if config.replay_dir is not None:
        inputs.append(open_artifact(config.replay_dir, "tokens"))
    ranks, layout = join_layout(config, shape, context)
    draft = yield inputs
    share = RankShare(ranks.n_ranks, layout is not None)
    made = check_memory(shape, config, context, available_share(), share)
    say(f"{made}; the text is {meta.splits['train'].n_tokens:,} tokens long")
    model = prepare(path, config, shared=layout is not None)
    summary = train_on_tokens(
        model,
        config.loop(),
        config.tokens_dir,
        draft.path,
        ranks,
        context=context,
        validation_share=config.validation_share,
        replay=(config.replay_dir, config.replay_share) if config.replay_dir else None,
        layout=layout,
    )
    if ranks.is_main:
        publish(draft, model, config, path, meta.fim_mode)
        counts = {"parameters": made.n_parameters, "trained": made.n_trained}
        text = meta.splits["train"]
        bits = validation_bits(summary, text.n_tokens, text.n_bytes)
        draft.counts |= counts | counts_of(summary, meta) | bits


def foresee(config: AdaptConfig, context: int) -> str:
    """The plan in words, for tokens that are packed for `context`.

    Raises ConfigError if the memory that is left is too small, with what would fit, or if tokenizer
    and weights do not belong together.
    """
    path = local_path(config.model)
    check_files(path)
    shape = load_config(path)
    check_vocabulary(config.model, shape, open_tokenizer(path).vocab_size)
    made = check_memory(shape, config, config.context or context, available_share())
    length = f"{config.max_steps:,} steps" if config.max_steps else f"{config.minutes:g} minutes"
    return f"adapting {config.model} for {length}: {made}"


def _check_tokens(config: AdaptConfig, path: Path, shape: ModelConfig, meta: StreamMeta) -> None:
    tokenizer = open_tokenizer(path)
    cure = "pack again with the base's tokenizer (codling adopt)"
    if meta.vocab_size != tokenizer.vocab_size or meta.eos != tokenizer.specials.eos:
        raise ConfigError(
            f"the tokens in {config.tokens_dir} were made with a vocabulary of {meta.vocab_size} "
            f"and end at {meta.eos}, but {config.model} has {tokenizer.vocab_size} tokens and ends "
            f"at {tokenizer.specials.eos}; {cure}"
        )
    for tokens_dir in filter(None, (config.tokens_dir, config.replay_dir)):
        check_tokenizer(tokens_dir, tokenizer, config.model)
    check_vocabulary(config.model, shape, meta.vocab_size)
    if config.mode == "lora" and meta.splits["train"].n_fim and meta.fim_mode != tokenizer.fim_mode:
        raise ConfigError(
            f"the tokens in {config.tokens_dir} teach insertion in the order {meta.fim_mode}, but "
            f"{config.model} is asked in {tokenizer.fim_mode}; pack with --fim-spm-share "
            f"{int(tokenizer.fim_mode == 'spm')}"
        )
    if config.mode == "full":
        to_published(shape)  # refuses, before any training, what could not be saved
