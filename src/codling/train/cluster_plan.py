"""What training a recipe takes on a cluster, before anyone rents it: memory, time, energy.

Input: a recipe or a published model's name, a kind of GPU, a layout. Output: text, with a line for
what cannot fit or will be slow. Nothing is trained and no GPU is needed.

Not here: the memory (layout.py), the makers' figures (gpus.toml).
"""

from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from codling.core.errors import ConfigError
from codling.core.memory import available_bytes
from codling.core.packaged import packaged_table
from codling.core.ranges import PositiveShare, Range, Ranged
from codling.core.recipe import build, build_partial, explain_no_recipe, find_recipe, read_recipe
from codling.model.config import MAX_POSITION, ModelConfig
from codling.model.presets import PRESETS
from codling.model.sizes import flops_per_token, sizes
from codling.tokens.bpe import TokenizerConfig
from codling.tokens.pack import PackConfig
from codling.train.layout import ParallelLayout, count_memory
from codling.train.parallel.context import check_window
from codling.train.pretrain import PretrainConfig
from codling.train.run_memory import count_run_memory, name_cure
from codling.train.schedule import micro_batches

_OPTIMAL = 20
"""Tokens per active parameter where nothing says how many (arXiv:2203.15556)."""
_BATCH_TOKENS = 4 << 20
_GIB = 2**30
_DEGREES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Gpu(Ranged):
    """One row of gpus.toml."""

    memory_gib: int
    tflops: float
    """Dense products of bf16, 1e12 operations a second."""
    watts: int
    node: int
    """GPUs that share fast links."""


@cache
def known_gpus() -> dict[str, Gpu]:
    """The accelerators that a plan may name."""
    rows = packaged_table("codling.train", "gpus.toml")
    return {name: build(Gpu, row, f"gpus.toml [{name}]") for name, row in rows.items()}


@dataclass(frozen=True, kw_only=True)
class PlanConfig(ParallelLayout):
    """Settings of `codling plan`."""

    model: str
    """A recipe's file, or the name of one that comes with codling, such as v2; or a published
    model's name, such as coder-6.7b."""
    gpu: str = "H100"
    """Kind of GPU: A100, H100, H800, H200, B200, MI300X, L40S or RTX4090; cpu: this machine, whose
    memory alone is told, for `batch` windows at a time."""
    mfu: PositiveShare = 0.4
    """Share of the GPU's peak that the model's own arithmetic reaches. Published: 0.35 to 0.45 for
    dense models, 0.15 to 0.25 for models with routed experts."""
    tokens: Annotated[float, Range(1, 1e17)] | None = None
    """Tokens to train on; by default those of the recipe's steps, else 20 per parameter that a
    token meets."""
    context: Annotated[int, Range(1, MAX_POSITION)] | None = None
    """Tokens of a window; by default the recipe's, else 4096."""
    batch: Annotated[int, Range(1, 1_000_000)] | None = None
    """Windows per step; by default the recipe's, else 4M tokens."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be computed."""

    shape: ModelConfig
    window: int
    n_windows: int
    """Per step."""
    n_tokens: float
    """In all."""
    settings: PretrainConfig = field(default_factory=PretrainConfig)
    """Of the recipe."""

    @property
    def flops(self) -> float:
        """Operations of all steps: three passes' worth, each token seeing half a window."""
        return 3.0 * flops_per_token(self.shape, self.window // 2) * self.n_tokens


def plan(config: PlanConfig) -> str:
    """Memory per GPU, time and energy of a training run, and what is wrong with its layout.

    Raises ConfigError for unknown names, and for degrees that do not divide what they share.

    Example:
        codling plan v2 --gpu H800 --gpus 2048 --pipeline 16 --expert 8 --mfu 0.2
    """
    gpu = known_gpus().get(config.gpu)
    if gpu is None and config.gpu != "cpu":
        raise ConfigError(f"no GPU {config.gpu}; choose one of {', '.join(known_gpus())}, or cpu")
    work = read_workload(config)
    if gpu is None:
        return _plan_here(config, work)
    config.check(work.shape)
    check_window(work.window, config.context_parallel)
    parts = count_memory(work.shape, config, work.window, work.n_windows)
    rows = [*_describe_work(work), *_describe_layout(config), *_describe_cost(config, gpu, work)]
    total = f"{sum(parts.values()) / _GIB:,.1f} of {gpu.memory_gib} GiB"
    rows += [("memory of one GPU", total), *_list_parts(parts)]
    warnings = [f"Warning: {text}." for text in find_faults(config, gpu, work)]
    title = f"{config.model} on {config.gpus:,} x {config.gpu}"
    return "\n".join([title, "", *_align(rows), *warnings])


def read_workload(config: PlanConfig) -> Workload:
    """Shape, windows and tokens, from the recipe or the published model, and the flags."""
    recipe = _read(config.model)
    pretrain = build(PretrainConfig, recipe.get("pretrain", {}), f"{config.model} [pretrain].")
    tokenizer = _read_settings(TokenizerConfig, recipe, "tokenizer", config.model)
    pack = _read_settings(PackConfig, recipe, "pack", config.model)
    shape, window, n_windows = PRESETS.get(config.model, pretrain.model), 4096, None
    if recipe:
        vocabulary = tokenizer.get("vocab_size", pretrain.model.vocab_size)
        rows = -(-vocabulary // pretrain.vocab_multiple) * pretrain.vocab_multiple
        shape = replace(pretrain.model, vocab_size=rows)
        window = pretrain.context or pack.get("context", window)
        n_windows = pretrain.batch_size * pretrain.accumulate
    window = config.context or window
    n_windows = config.batch or n_windows or max(1, _BATCH_TOKENS // window)
    n_micro = micro_batches(pretrain.max_steps or 0, pretrain).start
    n_steps = n_micro / pretrain.accumulate  # as many full ones hold the text of a growing batch
    n_tokens = config.tokens or n_steps * n_windows * window
    return Workload(
        shape=shape,
        window=window,
        n_windows=n_windows,
        n_tokens=n_tokens or _OPTIMAL * sizes(shape).active,
        settings=pretrain,
    )


def find_faults(config: PlanConfig, gpu: Gpu, work: Workload) -> list[str]:
    """What cannot fit, will be slow, or leaves GPUs idle."""
    found = []
    if not _fits(config, gpu, work):
        found.append(f"this does not fit; {_find_layout(config, gpu, work)}")
    if config.tensor > gpu.node:
        found.append(
            f"--tensor {config.tensor} reaches beyond a node of {gpu.node}, and its traffic with it"
        )
    if work.n_tokens < work.n_windows * work.window:
        found.append(f"{work.n_tokens:.3g} tokens are less than one step")
    n_micro = work.n_windows / (config.data * config.micro_batch)
    if work.n_windows < config.data:
        found.append(
            f"a step of {work.n_windows:,} windows leaves some of {config.data:,} data-parallel "
            "groups without any"
        )
    elif n_micro < 1:
        most = work.n_windows // config.data
        found.append(
            f"a step has {most:,} windows for each data-parallel group, fewer than --micro-batch "
            f"{config.micro_batch:,}"
        )
    elif (bubble := (config.pipeline - 1) / (n_micro + config.pipeline - 1)) > 0.2:
        found.append(f"the pipeline stands still {bubble:.0%} of the time: {n_micro:.0f} rounds")
    if work.shape.n_layers % config.pipeline:
        found.append(f"{work.shape.n_layers} layers on {config.pipeline} stages are uneven")
    return found


def _plan_here(config: PlanConfig, work: Workload) -> str:
    """What `codling pretrain` with the recipe's settings takes on this machine's CPUs.

    Raises ConfigError for what only a layout of GPUs has.
    """
    layout = ("tensor", "pipeline", "context_parallel", "expert", "micro_batch")
    for name in layout:
        if getattr(config, name) != 1:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} is for GPUs; with --gpu cpu leave it out")
    settings = replace(work.settings, device="cpu")
    settings = replace(settings, recompute=config.recompute or settings.recompute)
    if config.batch:  # all of a step at a time
        settings = replace(settings, batch_size=config.batch, accumulate=1)
    parts = count_run_memory(work.shape, settings, work.window)
    total, left = sum(parts.values()), available_bytes()
    free = "" if left is None else f", {left / _GIB:,.1f} GiB are free"
    at_a_time = ("at a time", f"{settings.batch_size:,} windows of {work.window:,} tokens")
    memory = ("memory of the run", f"{total / _GIB:,.1f} GiB{free}")
    rows = [*_describe_work(work), at_a_time, memory]
    lines = _align([*rows, *_list_parts(parts)])
    if left is not None and total > left:
        lines.append(f"Warning: this does not fit; {name_cure(settings)}.")
    return "\n".join([f"{config.model} on this machine's CPUs", "", *lines])


def _list_parts(parts: dict[str, int]) -> list[tuple[str, str]]:
    return [(f"  {name}", f"{n / _GIB:,.1f} GiB") for name, n in parts.items()]


def _align(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}" for name, text in rows]


def _read(name: str) -> dict[str, Any]:
    """The recipe of this name; empty for a published model that has none."""
    path = Path(name)
    if find_recipe(path) is None:
        if name in PRESETS:
            return {}
        models = ", ".join(sorted(PRESETS))
        raise ConfigError(f"{explain_no_recipe(path)}; published models are {models}")
    recipe = read_recipe(path)
    if "pretrain" not in recipe:
        raise ConfigError(f"{name} has no table [pretrain], so there is nothing to plan")
    return recipe


def _read_settings(cls: type, recipe: dict[str, Any], table: str, name: str) -> dict[str, Any]:
    """What a recipe sets of a stage, checked."""
    return build_partial(cls, recipe.get(table, {}), f"{name} [{table}].")


def _fits(config: PlanConfig, gpu: Gpu, work: Workload) -> bool:
    parts = count_memory(work.shape, config, work.window, work.n_windows)
    return sum(parts.values()) <= gpu.memory_gib * _GIB


def _find_layout(config: PlanConfig, gpu: Gpu, work: Workload) -> str:
    """The flags of the least change that fits on these GPUs."""
    for recompute, tensor, pipeline, expert in product(
        (False, True), (n for n in _DEGREES if n <= gpu.node), _DEGREES, _DEGREES
    ):
        tried = replace(
            config,
            tensor=tensor,
            pipeline=pipeline,
            expert=expert,
            recompute=recompute,
            shard="full",
            micro_batch=1,
        )
        if _is_possible(tried, work.shape) and _fits(tried, gpu, work):
            return f"{' '.join(_name_changes(config, tried))} would"
    states = 18 * sizes(work.shape).total / _GIB
    return (
        f"no layout does: weights, gradients and moments alone are {states:,.0f} GiB, and "
        f"{config.gpus:,} GPUs have {config.gpus * gpu.memory_gib:,}; take more"
    )


def _is_possible(config: PlanConfig, shape: ModelConfig) -> bool:
    try:
        config.check(shape)
    except ConfigError:
        return False
    return True


def _name_changes(was: PlanConfig, now: PlanConfig) -> list[str]:
    """The flags that make one layout of the other."""
    names = ("shard", "micro_batch", "tensor", "pipeline", "expert", "recompute")
    values = {n: getattr(now, n) for n in names if getattr(now, n) != getattr(was, n)}
    return [
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
        for name, value in values.items()
    ]


def _describe_work(work: Workload) -> list[tuple[str, str]]:
    count = sizes(work.shape)
    n_steps = work.n_tokens / (work.n_windows * work.window)
    return [
        ("parameters", f"{count.total:,}, of which a token meets {count.active:,}"),
        (
            "text",
            f"{work.n_tokens:.3g} tokens: {n_steps:,.0f} steps of {work.n_windows:,} windows of "
            f"{work.window:,}",
        ),
        ("arithmetic", f"{work.flops:.3g} FLOP, {work.flops / work.n_tokens:.3g} a token"),
    ]


def _describe_layout(config: PlanConfig) -> list[tuple[str, str]]:
    kept = {"full": "weights and states", "optimizer": "the optimizer's states", "none": "nothing"}
    return [
        (
            "layout",
            f"data {config.data:,} x tensor {config.tensor} x pipeline {config.pipeline} x context "
            f"{config.context_parallel}, experts over {config.expert}; held once: "
            f"{kept[config.shard]}",
        )
    ]


def _describe_cost(config: PlanConfig, gpu: Gpu, work: Workload) -> list[tuple[str, str]]:
    seconds = work.flops / (config.gpus * gpu.tflops * 1e12 * config.mfu)
    hours = seconds * config.gpus / 3600
    return [
        (
            "time",
            f"{seconds / 86_400:,.1f} days at {config.mfu:.0%} of {gpu.tflops:,g} TFLOP/s: "
            f"{work.n_tokens / seconds:,.0f} tokens/s, {hours:,.0f} GPU hours",
        ),
        ("energy", f"{hours * gpu.watts / 1e6:,.1f} MWh at {gpu.watts} W a GPU, cooling apart"),
    ]
