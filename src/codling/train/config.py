"""The settings of the training loop, whatever is trained. No torch.

Not here: what the settings do (optimizer.py, schedule.py, trainer.py), and those of the stages.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Annotated, Literal

from codling.core.errors import ConfigError
from codling.core.ranges import (
    Batch,
    Count,
    CountFromZero,
    InnerShare,
    Minutes,
    PositiveShare,
    PositiveStrength,
    ProperShare,
    Range,
    Ranged,
    SecondsFromZero,
    Seed,
    Share,
    Strength,
    WorkersFromZero,
)
from codling.core.recipe import aside, length

TrackerName = Literal["tensorboard", "wandb", "trackio"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Ranged):
    """How gradients become updates."""

    name: Literal["muon", "adamw"] = "muon"
    """muon: Muon for the matrices of the layers, AdamW for embeddings, head and norms; adamw: AdamW
    for everything."""
    learning_rate: PositiveStrength = 3e-3
    """Peak learning rate of AdamW, reached after warm-up."""
    muon_learning_rate: PositiveStrength = 0.02
    """Peak learning rate of Muon: about the spectral norm of an update."""
    muon_momentum: ProperShare = 0.95
    """Share of the running gradient that Muon keeps from step to step."""
    muon_iterations: Annotated[int, Range(1, 100)] = 5
    """Newton-Schulz iterations per update."""
    betas: tuple[ProperShare, ProperShare] = (0.9, 0.95)
    """Decay of AdamW's running mean and square."""
    eps: PositiveShare = 1e-10
    """Added to AdamW's denominator."""
    weight_decay: Strength = 0.0
    """Decoupled weight decay of the matrices, per unit of learning rate."""
    clip_norm: PositiveStrength = 1.0
    """Gradients with a larger norm are scaled down to it."""


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Ranged):
    """The learning rate over the run, as a share of its peak."""

    name: Literal["wsd", "cosine", "steps"] = "wsd"
    """wsd: hold, then fall linearly to `floor`; cosine: half a cosine to `floor`; steps: multiply
    by `drop_factor` at each of `drops` (DeepSeek's multi-step schedules)."""
    warmup_steps: CountFromZero = 20
    """Linear warm-up; at most a tenth of the run."""
    form: Literal["own", "transformers", "deepspeed"] = "own"
    """Whose arithmetic, to repeat a run of theirs. transformers: the first update has rate 0,
    warm-up is as long as it says, the rate falls after it; deepspeed: WarmupLR, a logarithmic rise,
    then constant."""
    warmup_share: Share = 0.0
    """transformers: warm-up as a share of the run, where warmup_steps is 0."""
    decay_from: ProperShare = 0.0
    """wsd: share of the run after which the rate falls; 0 falls from the start."""
    floor: Share = 0.0
    """wsd and cosine: share of the peak at the end."""
    drops: tuple[InnerShare, ...] = (0.8, 0.9)
    """steps: shares of the run at which the rate drops."""
    drop_factor: PositiveShare = 0.31622776601683794
    """steps: what each drop multiplies by; sqrt(1/10), so that two drops end at 10%."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.drops) != sorted(self.drops):
            raise ConfigError("schedule: drops must rise")


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig(Ranged):
    """How the load of routed experts is kept even in training (DeepSeek-V2, section 2.2)."""

    expert_alpha: Strength = 0.001
    """Strength of the balance loss over experts, per sequence. V2: 0.003, Lite: 0.001."""
    device_alpha: Strength = 0.0
    """Strength of the balance loss over devices' work. V2: 0.05."""
    communication_alpha: Strength = 0.0
    """Strength of the balance loss over what devices are sent. V2: 0.02."""
    n_devices: Annotated[int, Range(0, 1 << 14)] = 0
    """Devices that the experts are spread over, for these losses and the capacity; 0: the model's
    n_group. They need not be there."""
    capacity: Strength = 0.0
    """What a device computes at most, as a multiple of an even share: assignments of the lowest
    affinity beyond it are dropped, in training alone. V2: 1; 0 drops nothing."""
    exempt_share: Share = 0.1
    """Share of the sequences of which nothing is dropped."""
    bias_step: Strength = 0.0
    """By how much each update moves the bias of experts with too many or too few tokens, without
    any loss; needs model.moe.selection_bias. DeepSeek-V3: 0.001."""


@dataclass(frozen=True, kw_only=True)
class SpikeConfig(Ranged):
    """What is done where the loss jumps."""

    deviations: Annotated[float, Range(0, 1e6)] = 6.0
    """A batch whose loss is so many standard deviations of the last 64, and at least 1 nat, above
    their mean changes nothing; 0: every batch counts."""
    rollback_after: Annotated[int, Range(0, 64)] = 3
    """So many skipped batches among 64 steps: the run goes back to its last saved state, and on
    with later batches; 0: never."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig(Ranged):
    """What the training loop needs, whatever is trained."""

    minutes: Minutes = length(5.0)
    """Time of the training, compiling included; the number of steps is fixed from the first steps'
    speed."""
    max_steps: Count | None = length(None)
    """Train exactly so many steps instead; then the result depends on nothing but the settings."""
    batch_size: Batch = 8
    """Windows per micro-batch."""
    accumulate: Annotated[int, Range(1, 1_000_000)] = 1
    """Micro-batches per update."""
    accumulate_from: Annotated[int, Range(0, 1_000_000)] = 0
    """Micro-batches of the first update, from where their number grows to `accumulate` over
    `ramp_steps`; 0: the same throughout."""
    ramp_steps: Annotated[int, Range(0, 100_000_000)] = 0
    """Updates after which the batch has grown to its full size. DeepSeek-V2: 225B tokens' worth."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How gradients become updates."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """The learning rate over the run."""
    spikes: SpikeConfig = field(default_factory=SpikeConfig)
    """What is done where the loss jumps."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Type of the matrix products; the master copy of the weights is always fp32. auto: bf16, but
    fp32 on a CPU without bf16 instructions, where bf16 is several times slower."""
    seed: Seed = 0
    """Decides the initial weights and the order of the batches."""
    compile: bool = aside(True)
    """Compile the model with torch.compile; without a C++ compiler training runs eagerly."""
    recompute: bool = aside(False)
    """Keep only the input of each block and compute the rest again in the backward pass (gradient
    checkpointing): much less memory, about a third more arithmetic, the same gradients."""
    device: str = aside("auto")
    """auto (cuda where there is one), cpu or cuda."""
    threads: WorkersFromZero = aside(0)
    """CPU threads of one process; 0 takes every core, by several processes where they can share a
    batch. A resumed run keeps what it began with."""
    processes: WorkersFromZero = aside(0)
    """Processes that share a batch on CPUs, one thread each: 0 takes one per core where the rows of
    a batch can be shared evenly, 1 has threads of one process instead."""
    save_seconds: SecondsFromZero = aside(60.0)
    """Seconds between saved states, from which an interrupted run resumes."""
    n_heldout_evals: Annotated[int, Range(0, 1_000_000)] = aside(10)
    """How often the held-out loss is measured on the way."""
    heldout_tokens: Count = aside(8_192)
    """Held-out tokens in each of these measurements; the score stage looks at all of them."""
    report_to: tuple[TrackerName, ...] = aside(())
    """Who is told the metrics beside metrics.jsonl (repeatable). tensorboard: event files in the
    output folder; wandb, trackio: an extra of that name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_trackers(self.report_to)
        if bool(self.accumulate_from) != bool(self.ramp_steps):
            raise ConfigError(
                "a batch that grows needs both accumulate_from and ramp_steps; set both or neither"
            )
        if self.accumulate_from > self.accumulate:
            raise ConfigError(
                f"accumulate_from is {self.accumulate_from}, more than accumulate "
                f"{self.accumulate}; batches only grow"
            )


def check_trackers(names: tuple[TrackerName, ...]) -> None:
    """ConfigError if a package that `names` ask for is not there: before any work."""
    for name in names:
        # Event files are written without TensorBoard's own package.
        if name != "tensorboard" and find_spec(name) is None:
            raise ConfigError(
                f"report_to: {name} is not installed; pip install 'codling[{name}]', or take "
                "tensorboard, which needs nothing"
            )
