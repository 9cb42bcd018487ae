"""The settings of the stages that train a published model, which plan.py reads too. No torch.

Not here: what the settings do (adapt.py, tune.py), and those of the loop (train/config.py).
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from codling.core.errors import ConfigError
from codling.core.ranges import (
    MAX_CONTEXT,
    Batch,
    Count,
    CountFromZero,
    PositiveShare,
    PositiveStrength,
    ProperShare,
    Range,
)
from codling.core.recipe import aside, length
from codling.train.config import LoopConfig, OptimizerConfig, ScheduleConfig

TrainMode = Literal["lora", "full"]


@dataclass(frozen=True, kw_only=True)
class PosttrainConfig(LoopConfig):
    """What training a published model needs, whatever it learns."""

    model: Path = aside()
    """The base: a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    mode: TrainMode = "lora"
    """lora: small matrices beside the linear layers, in files of their own; full: all weights."""
    rank: Annotated[int, Range(1, 65_536)] = 16
    """lora: rank of the small matrices; 32 for more than 5 MB of code."""
    alpha: PositiveStrength = 32.0
    """lora: the change is multiplied by alpha / rank."""
    batch_size: Batch = 4
    """Windows per micro-batch."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", learning_rate=5e-4, eps=1e-8)
    )
    """How gradients become updates."""
    full_rate_share: PositiveShare = 0.1
    """full: all weights learn at this share of optimizer.learning_rate; LoRA needs about ten times
    the rate of full tuning."""
    n_heldout_evals: Annotated[int, Range(0, 1_000_000)] = 5
    """How often the set-aside part is measured on the way; the best of these is kept."""
    heldout_tokens: Count = 4_096
    """Tokens of the set-aside part at most: measuring counts towards the minutes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ramp_steps:
            raise ConfigError("batches that grow (ramp_steps) are for pretrain and extend")

    def loop(self) -> Self:
        """The settings of the loop, with the learning rate of the mode."""
        if self.mode == "lora":
            return self
        rate = self.optimizer.learning_rate * self.full_rate_share
        muon_rate = self.optimizer.muon_learning_rate * self.full_rate_share
        optimizer = replace(self.optimizer, learning_rate=rate, muon_learning_rate=muon_rate)
        return replace(self, optimizer=optimizer)


Config = TypeVar("Config", bound=PosttrainConfig)


def count_steps(config: Config, epochs: float, n_rows: int) -> Config:
    """The settings of the loop, with the epochs over `n_rows` windows or pairs as steps."""
    loop = config.loop()
    if config.max_steps is not None or not epochs:
        return loop
    n_steps = math.ceil(epochs * n_rows / (config.batch_size * config.accumulate))
    return replace(loop, max_steps=max(1, n_steps))


def fit_update(config: "TuneConfig", n_rows: int, n_windows: int, n_ranks: int) -> "TuneConfig":
    """The settings with so many windows in an update that it has `rows_per_update` of `n_rows`.

    >>> asked = TuneConfig(model=Path("m"), batch_size=16, accumulate=4, rows_per_update=64)
    >>> fitted = fit_update(asked, n_rows=6400, n_windows=2700, n_ranks=2)
    >>> fitted.batch_size, fitted.accumulate
    (14, 2)
    """
    if not config.rows_per_update or not config.packing or not n_rows:
        return config
    wanted = max(1, round(config.rows_per_update * n_windows / n_rows))
    accumulate = math.ceil(wanted / config.batch_size)
    batch = math.ceil(wanted / accumulate / n_ranks) * n_ranks
    return replace(config, batch_size=batch, accumulate=accumulate)


@dataclass(frozen=True, kw_only=True)
class TuneConfig(PosttrainConfig):
    """Settings of tune."""

    dialogues_dir: Path = aside(Path("runs/dialogues"))
    """Artefact of kind "dialogues", made with the base's own tokenizer (codling data dialogues)."""
    out_dir: Path = aside(Path("runs/tuned"))
    """Where the adapter goes, or with --mode full the checkpoint."""
    context: Annotated[int, Range(0, MAX_CONTEXT)] = 0
    """Tokens of a window; 0 takes what the dialogues were made for."""
    packing: bool = True
    """Several dialogues share a window, without seeing each other; otherwise each has its own."""
    rows_per_update: CountFromZero = 0
    """With packing: an update has about so many dialogues, so fewer windows than batch_size x
    accumulate; 0 takes all of these."""
    group_by_length: bool = True
    """Without packing: rows of about one length share a batch, which is as long as its longest."""
    patience: Annotated[int, Range(0, 1_000_000)] = 0
    """End after so many measurements in a row without a lower held-out loss; 0: never."""
    n_samples: Annotated[int, Range(0, 1_000)] = aside(3)
    """Held-out questions that the model answers at each measurement, for people to read."""
    sample_tokens: Annotated[int, Range(1, MAX_CONTEXT)] = aside(128)
    """Tokens of such an answer at most."""
    shard: bool = aside(False)
    """Several processes: each holds its share of weights, gradients and moments (FSDP2), instead of
    all of them."""
    fim_rate: ProperShare = 0.0
    """Share of the training documents that are insertion tasks, cut from the answers' code, so that
    the tuned model still inserts."""
    weigh: Literal["tokens", "batches"] = "tokens"
    """tokens: every counted token of an update weighs the same; batches: every micro-batch does, as
    in transformers' Trainer of 2023."""
    epochs: Annotated[float, Range(0, 10_000)] = length(3.0)
    """How often every answer is seen; 0 takes `minutes`. `max_steps` counts before both."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", learning_rate=2e-4, eps=1e-8)
    )
    """How gradients become updates."""
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(name="cosine", warmup_steps=10)
    )
    """The learning rate over the run."""
