"""The settings of the training loop, whatever is trained. No torch.

Not here: what the settings do (optimizer.py, schedule.py, trainer.py), and those of the stages.
"""

from dataclasses import dataclass, field
from typing import Literal

from codling.core.errors import ConfigError
from codling.core.recipe import aside, length


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How gradients become updates."""

    name: Literal["muon", "adamw"] = "muon"
    """muon: Muon for the matrices of the layers, AdamW for embeddings, head and norms; adamw: AdamW
    for everything."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW, reached after warm-up."""
    muon_learning_rate: float = 0.02
    """Peak learning rate of Muon: about the spectral norm of an update."""
    muon_momentum: float = 0.95
    """Share of the running gradient that Muon keeps from step to step."""
    muon_iterations: int = 5
    """Newton-Schulz iterations per update."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of AdamW's running mean and square."""
    eps: float = 1e-10
    """Added to AdamW's denominator."""
    weight_decay: float = 0.0
    """Decoupled weight decay of the matrices, per unit of learning rate."""
    clip_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it."""

    def __post_init__(self) -> None:
        if min(self.learning_rate, self.muon_learning_rate, self.clip_norm) <= 0:
            raise ConfigError(
                "optimizer: learning_rate, muon_learning_rate and clip_norm must be positive"
            )
        if not all(0 <= b < 1 for b in (*self.betas, self.muon_momentum)):
            raise ConfigError("optimizer: betas and muon_momentum must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the run, as a share of its peak."""

    name: Literal["wsd", "cosine", "steps"] = "wsd"
    """wsd: hold, then fall linearly to `floor`; cosine: half a cosine to `floor`; steps: multiply
    by `drop_factor` at each of `drops` (DeepSeek's multi-step schedules)."""
    warmup_steps: int = 20
    """Linear warm-up; at most a tenth of the run."""
    decay_from: float = 0.0
    """wsd: share of the run after which the rate falls; 0 falls from the start."""
    floor: float = 0.0
    """wsd and cosine: share of the peak at the end."""
    drops: tuple[float, ...] = (0.8, 0.9)
    """steps: shares of the run at which the rate drops."""
    drop_factor: float = 0.31622776601683794
    """steps: what each drop multiplies by; sqrt(1/10), so that two drops end at 10%."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay_from < 1 or not 0 <= self.floor <= 1:
            raise ConfigError("schedule: decay_from must lie in [0, 1) and floor in [0, 1]")
        if list(self.drops) != sorted(self.drops) or not all(0 < d < 1 for d in self.drops):
            raise ConfigError("schedule: drops must rise and lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """What the training loop needs, whatever is trained."""

    minutes: float = length(5.0)
    """Training time; the number of steps is fixed from the first steps' speed. Compiling is not
    counted."""
    max_steps: int | None = length(None)
    """Train exactly so many steps instead; then the result depends on nothing but the settings."""
    batch_size: int = 8
    """Windows per micro-batch."""
    accumulate: int = 1
    """Micro-batches per update."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How gradients become updates."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """The learning rate over the run."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Type of the matrix products; the master copy of the weights is always fp32."""
    seed: int = 0
    """Decides the initial weights and the order of the batches."""
    compile: bool = aside(True)
    """Compile the model with torch.compile; without a C++ compiler training runs eagerly."""
    device: str = aside("auto")
    """auto (cuda where there is one), cpu or cuda."""
    threads: int = aside(0)
    """CPU threads; 0 takes every core. A resumed run keeps the number that it began with."""
    save_seconds: float = aside(60.0)
    """Seconds between saved states, from which an interrupted run resumes."""
    n_heldout_evals: int = aside(10)
    """How often the held-out loss is measured on the way."""
    heldout_tokens: int = aside(8_192)
    """Held-out tokens in each of these measurements; the score stage looks at all of them."""

    def __post_init__(self) -> None:
        if self.max_steps is None and self.minutes <= 0:
            raise ConfigError(f"minutes is {self.minutes}; give some time, or --max-steps")
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError(f"max_steps is {self.max_steps}; at least 1 is needed")
        if min(self.batch_size, self.accumulate) < 1:
            raise ConfigError("batch_size and accumulate must be at least 1")
