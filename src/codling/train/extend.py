"""The stage extend: a checkpoint learns a longer context.

Input: an artefact of kind "checkpoint", a Hugging Face folder or a .gguf file, tokens made with its
tokenizer.
Output: a checkpoint whose rotary positions are stretched and whose weights are trained on long
windows.

DeepSeek-Coder: linear, theta 1e5, factor 4, 1000 steps at 16K. DeepSeek-V2: YaRN, factor 40, 1000
steps at 32K (arXiv:2405.04434, section 3.1.4). DeepSeek-Coder-V2: then 1000 steps at 128K
(arXiv:2406.11931, section 3.4): a checkpoint whose positions are stretched keeps them, and only its
windows become longer.

Before and after, long-context.json says how far the model reads (long_context.py).

Not here: the loop (trainer.py).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch

from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_model
from codling.checkpoint.settings import to_published
from codling.checkpoint.tokenizer_files import open_tokenizer, write_tokenizer
from codling.checkpoint.verify import check_files, model_input
from codling.core.artifact import Draft, open_artifact
from codling.core.errors import ConfigError
from codling.core.files import write_json
from codling.core.log import say
from codling.core.ranges import Context, CountFromZero, Range
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.token_files import StreamMeta, check_tokenizer, open_stream, read_meta
from codling.train.config import ExpertsConfig, LoopConfig
from codling.train.long_context import Reach, compare_reach, measure_reach
from codling.train.parallel.mesh import parse_layout
from codling.train.parallel.ranks import join_ranks
from codling.train.run import counts_of, produce_on_ranks, publish_checkpoint, train_on_tokens
from codling.train.run_memory import foresee_memory

MAX_RISE_PERCENT = 1.0
"""Where the bits per token within the old length rise by more, a warning says so."""


@dataclass(frozen=True, kw_only=True)
class ExtendConfig(LoopConfig):
    """Settings of extend."""

    checkpoint_dir: Path = aside(Path("runs/checkpoint"))
    """Model whose context is extended: a checkpoint's folder, a run's, a .gguf file, or
    ORGANISATION/MODEL on the hub."""
    tokens_dir: Path = aside(Path("runs/tokens"))
    """Artefact of kind "tokens" made with the checkpoint's tokenizer, best packed by document."""
    out_dir: Path = aside(Path("runs/extended"))
    """Where the new checkpoint goes."""
    context: Context = 4096
    """The new context in tokens."""
    scaling: Literal["linear", "yarn"] | None = None
    """linear (default): DeepSeek-Coder's way to 16K (theta 1e5, factor 4); yarn: DeepSeek-V2's. A
    checkpoint that is stretched keeps its own."""
    factor: Annotated[float, Range(1, 1e6)] | None = None
    """How far positions are stretched; by default new context / old context. More than that leaves
    room for a second stage."""
    theta: Annotated[float, Range(0, 1e12, above=True)] | None = None
    """Base of the rotary wavelengths; by default the checkpoint's."""
    experts: ExpertsConfig = field(default_factory=ExpertsConfig)
    """How the load of routed experts is kept even."""
    parallel: str = aside("")
    """How the processes that torchrun starts share the model, such as fsdp=2,cp=2."""
    rank_seconds: Annotated[float, Range(1, 1e6)] = aside(600.0)
    """Several processes: for how long one may keep the others waiting before training ends."""
    n_needles: CountFromZero = aside(4)
    """Needles per length that are looked for before and after; 0 leaves them out."""


@stage("checkpoint", version=1, produce=produce_on_ranks)
def extend(config: ExtendConfig) -> Work:
    """Continue training a checkpoint on longer windows, with its positions stretched.

    Raises ConfigError if the new context is not longer than the old, or beyond the reach of
    positions that are stretched already.

    Example:
        codling extend --checkpoint-dir runs/stdlib/checkpoint --context 4096 \
--tokens-dir runs/stdlib/long-tokens --out-dir runs/stdlib/extended
    """
    tokens = open_artifact(config.tokens_dir, "tokens")
    meta = read_meta(config.tokens_dir)
    path = local_path(config.checkpoint_dir)
    check_files(path)
    check_tokenizer(config.tokens_dir, open_tokenizer(path), config.checkpoint_dir)
    ranks = join_ranks(seconds=config.rank_seconds, alone=bool(config.parallel))
    layout = parse_layout(config.parallel, ranks.n_ranks) if config.parallel else None
    draft = yield [model_input(path), tokens]
    old = _load(path, meta)
    shape = extend_positions(old.config, config)
    to_published(shape)  # refuses, before any training, what could not be saved
    if layout is not None:
        layout.check(shape)
    if ranks.n_ranks == 1:
        foresee_memory(shape, config, config.context)
    model = Transformer(shape)
    model.load_state_dict(old.state_dict())
    old_length = old.config.max_position
    measures = ranks.is_main and _can_measure(config, meta)
    before = _measure(old, path, config, old_length) if measures else None
    del old  # its weights are in the new model
    summary = train_on_tokens(
        model,
        config,
        config.tokens_dir,
        draft.path,
        ranks,
        config.experts,
        context=config.context,
        layout=layout,
    )
    if ranks.is_main:
        if layout is not None:
            model = _without_sharing(model)
        if before is not None:
            after = _measure(model, path, config, old_length)
            _report(draft, before, after, old_length)
        publish_checkpoint(draft, model, shape, _write_tokenizer(draft, path), meta.fim_mode)
        draft.counts |= {"parameters": model.n_parameters(), **counts_of(summary, meta)}


def extend_positions(old: ModelConfig, config: ExtendConfig) -> ModelConfig:
    """The shape of the model with its positions stretched to the new context."""
    if old.rope.scaling != "none":
        return _lengthen(old, config)
    factor = config.factor or config.context / old.max_position
    if config.context <= old.max_position or factor <= 1:
        raise ConfigError(
            f"context is {config.context} and the factor {factor:g}, but the checkpoint "
            f"already takes {old.max_position} tokens; choose a longer context"
        )
    if factor * old.max_position < config.context:
        raise ConfigError(
            f"factor {factor:g} stretches {old.max_position} tokens to "
            f"{factor * old.max_position:g}, not to {config.context}; choose a larger factor"
        )
    rope = replace(
        old.rope,
        theta=config.theta or old.rope.theta,
        scaling=config.scaling or "linear",
        factor=factor,
        original_max_position=old.max_position,
    )
    return replace(old, rope=rope, max_position=config.context)


def _lengthen(old: ModelConfig, config: ExtendConfig) -> ModelConfig:
    """The second stage: the positions stay as they are stretched, the windows become longer."""
    rope = old.rope
    asked = {"scaling": config.scaling, "factor": config.factor, "theta": config.theta}
    changed = [k for k, v in asked.items() if v is not None and v != getattr(rope, k)]
    if changed:
        raise ConfigError(
            f"{config.checkpoint_dir} is stretched already ({rope.scaling}, factor "
            f"{rope.factor:g}) and keeps that; leave out {', '.join(changed)}, or extend the "
            "checkpoint that it was made from"
        )
    reach = int(rope.factor * rope.original_max_position)
    if config.context > max(reach, old.max_position):
        raise ConfigError(
            f"{config.checkpoint_dir} is stretched to {reach} tokens; {config.context} need a "
            "larger factor from the first stage on"
        )
    return replace(old, max_position=max(old.max_position, config.context))


def _load(path: Path, meta: StreamMeta) -> Transformer:
    """The model at `path`, whose tokenizer made the tokens."""
    model = load_model(path)
    if meta.vocab_size > model.config.vocab_size:
        raise ConfigError(
            f"{path}: its tokenizer has {meta.vocab_size} tokens but the model only "
            f"{model.config.vocab_size}; take both from the same checkpoint"
        )
    return model


def _write_tokenizer(draft: Draft, path: Path) -> Path:
    """The folder of the model's tokenizer, whose files a .gguf file has in its metadata."""
    folder = draft.inner("tokenizer").path
    write_tokenizer(path, folder)
    return folder


def _without_sharing(model: Transformer) -> Transformer:
    """The same weights in a model that no other process has a part in."""
    with torch.device("meta"):
        whole = Transformer(model.config)
    whole.load_state_dict(model.state_dict(), assign=True)
    whole.rope.build(model.rope.cos.shape[0], model.rope.cos.device)
    return whole


def _can_measure(config: ExtendConfig, meta: StreamMeta) -> bool:
    """Whether there is held-out text of one window, and it is to be looked at."""
    return config.n_heldout_evals > 0 and meta.splits["heldout"].n_tokens > config.context


def _measure(model: Transformer, path: Path, config: ExtendConfig, old_length: int) -> Reach:
    """How far the model from `path` reads."""
    n_tokens = read_meta(config.tokens_dir).splits["heldout"].n_tokens
    training = model.training
    model.eval()
    found = measure_reach(
        model,
        open_tokenizer(path),
        open_stream(config.tokens_dir, "heldout"),
        lengths=sorted({min(old_length, config.context), config.context}),
        n_windows=max(1, min(config.heldout_tokens, n_tokens) // config.context),
        n_needles=config.n_needles,
    )
    model.train(training)
    return found


def _report(draft: Draft, before: Reach, after: Reach, old_length: int) -> None:
    table = compare_reach(before, after, old_length)
    write_json(draft.file("long-context.json"), table)
    rise = table["rise_at_old_length_percent"]
    draft.counts |= {"rise_at_old_length_percent": rise}
    if rise is not None and rise > MAX_RISE_PERCENT:
        say(
            f"Within its old {old_length} tokens the model has become worse: {rise:.1f}% more bits "
            f"per token (at most {MAX_RISE_PERCENT:g}% is usual); train longer, or at a lower rate"
        )
