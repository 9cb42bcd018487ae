"""The settings of the stages that train a published model, which plan.py reads too. No torch.

Not here: what the settings do (adapt.py, tune.py), and those of the loop (train/config.py).
"""

import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeVar

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
    Ranged,
    Strength,
    WorkersFromZero,
)
from codling.core.recipe import aside, length
from codling.posttrain.rewards import RewardConfig
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
    parallel: str = aside("")
    """adapt and tune: how the processes that torchrun starts share the model, such as fsdp=2 or
    fsdp=2,cp=2; by default each holds the whole and computes its rows."""
    rank_seconds: Annotated[float, Range(1, 1e6)] = aside(600.0)
    """Several processes: for how long one may keep the others waiting before training ends."""
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
    all of them: what --parallel fsdp=N says."""
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


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Ranged):
    """What is optimised; the defaults are the corrected form, PUBLISHED the faithful one."""

    RENAMED: ClassVar[dict[str, str]] = {
        f"vllm_importance_sampling_{name}": f"importance_sampling_{name}"
        for name in ("correction", "mode", "clip_max")
    }
    loss_type: Literal["grpo", "dapo", "dr_grpo", "cispo"] = "dapo"
    """How tokens are averaged: grpo within each answer first, dapo over all, dr_grpo over answers
    times max_completion_length; cispo clips the weight only."""
    scale_rewards: Literal["group", "batch", "none"] = "none"
    """What an advantage is divided by: the rewards' standard deviation in the group, in the whole
    step, or nothing."""
    beta: Strength = 0.0
    """Weight of the divergence (k3) from the model that it starts from."""
    epsilon: Annotated[float, Range(0, 1)] = 0.2
    """How far a token's ratio may fall before it is clipped."""
    epsilon_high: PositiveStrength | None = 0.28
    """How far it may rise. For cispo the largest weight."""
    delta: PositiveStrength | None = None
    """The largest ratio with a negative advantage; by default it has no bound."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """Whether a ratio is that of a token or of the whole answer (GSPO)."""
    use_bias_correction_kl: bool = True
    """The divergence is weighted by the ratio, so that its gradient has no bias."""
    importance_sampling_correction: bool = True
    """Weigh tokens by how much likelier they are for the learner than for the sampler, which
    computes in another order."""
    importance_sampling_mode: Literal[
        "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"
    ] = "token_truncate"
    """Per token or per answer; weights above the bound are cut to it or become 0."""
    importance_sampling_clip_max: PositiveStrength = 3.0
    """The bound of these weights."""
    mask_truncated_completions: bool = False
    """Nothing is learned from answers that were cut at max_completion_length."""
    drop_equal_groups: bool = True
    """Leave groups whose answers all have the same reward out of the step, and its averages."""
    soft_punish_cache: CountFromZero = 0
    """The last so many tokens before max_completion_length cost up to 1 of the reward, growing
    evenly; 0: nothing."""

    @property
    def high(self) -> float:
        """The upper bound of the clip."""
        return self.epsilon if self.epsilon_high is None else self.epsilon_high


PUBLISHED = ObjectiveConfig(
    loss_type="grpo",
    scale_rewards="group",
    beta=0.04,
    epsilon_high=None,
    use_bias_correction_kl=False,
    importance_sampling_correction=False,
    drop_equal_groups=False,
)
"""As DeepSeekMath, V2 and Coder-V2 have it."""


@dataclass(frozen=True, kw_only=True)
class GrpoConfig(PosttrainConfig, ObjectiveConfig):
    """Settings of grpo; those of the objective and of the answers are named as in TRL."""

    tasks_dir: Path = aside(Path("runs/tasks"))
    """Artefact of kind "tasks" (codling data tasks), or a file of such rows."""
    out_dir: Path = aside(Path("runs/reinforced"))
    """Where the adapter goes, or with --mode full the checkpoint."""
    faithful: bool = False
    """GRPO as DeepSeekMath published it: loss_type grpo, scale_rewards group, beta 0.04, no
    epsilon_high, no corrections."""
    num_generations: Annotated[int, Range(2, 65_536)] = 8
    """Answers to each prompt; batch_size times accumulate is a multiple of it."""
    max_completion_length: Annotated[int, Range(1, MAX_CONTEXT)] = 128
    """Tokens of an answer at most."""
    temperature: Annotated[float, Range(0, 100, above=True)] = 1.0
    """Of the answers; log-probabilities are taken at it."""
    top_p: PositiveShare = 1.0
    """Draw from the likeliest tokens that together have this probability."""
    top_k: CountFromZero = 0
    """Draw from this many likeliest tokens; 0 means all."""
    num_iterations: Annotated[int, Range(1, 1_000)] = 1
    """Updates from the same answers."""
    n_at_once: Batch = aside(64)
    """Answers that grow together."""
    rollout_precision: Literal["auto", "model", "int8"] = "auto"
    """What our engine draws with: model: the very weights that are learned; int8: a copy of them in
    8 bits, made anew before every step, in the compiled loop of CPUs; auto: int8 on a CPU where
    importance_sampling_correction makes up for it, so never with faithful."""
    heldout_share: ProperShare = 0.2
    """Share of the groups of prompts that nothing is learned from."""
    n_heldout_answers: Batch = 4
    """Answers to each of them at each measurement, judged by their hidden tests."""
    max_heldout: Count = 200
    """Prompts that are held out at most."""
    reward: Literal["verdicts", "model", "both"] = "verdicts"
    """What answers are rewarded by: the sandbox's verdicts, the reward model, or both together."""
    reward_model_dir: Path | None = aside(None)
    """Artefact of kind "reward-model" (codling reward-model)."""
    reward_weights: tuple[Strength, Strength] = (1.0, 1.0)
    """both: the weights of verdict and model."""
    rewards: RewardConfig = field(default_factory=RewardConfig)
    """What each verdict is worth."""
    api: str | None = aside(None)
    """OpenAI-compatible server that answers in place of our engine, such as
    http://127.0.0.1:8000/v1."""
    api_model: str = aside("")
    """Its model's name; by default the first that it lists."""
    api_key_variable: str = aside("OPENAI_API_KEY")
    """Environment variable that holds its key."""
    api_weights: Literal["adapter", "stale"] = "adapter"
    """adapter: before every step the server loads the adapter as it is then, by its path; stale: it
    answers with the weights that it was started with."""
    workers: WorkersFromZero = aside(0)
    """Sandboxes at once; 0 takes every core."""
    batch_size: Batch = 8
    """Answers that are learned from at once."""
    accumulate: Annotated[int, Range(1, 1_000_000)] = 4
    """Of these, so many make a step: batch_size times accumulate answers are asked for."""
    epochs: Annotated[float, Range(0, 10_000)] = length(1.0)
    """How often every prompt is asked; 0 takes `minutes`. `max_steps` counts before both."""
    precision: Literal["auto", "bf16", "fp32"] = "fp32"
    """Type of the matrix products, in sampling too; the master copy is always fp32."""
    compile: bool = aside(False)
    """Not used: lengths vary from batch to batch."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", learning_rate=1e-5, eps=1e-8)
    )
    """How gradients become updates; with --mode full at full_rate_share of the rate, 1e-6."""
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(name="wsd", warmup_steps=0)
    )
    """The learning rate over the run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_answers % self.num_generations:
            raise ConfigError(
                f"batch_size times accumulate is {self.n_answers}, no multiple of num_generations, "
                f"{self.num_generations}"
            )
        if (self.reward == "verdicts") != (self.reward_model_dir is None):
            raise ConfigError("reward model or both goes with a reward_model_dir, verdicts without")
        if self.api is not None:
            self._check_api()
        if self.rollout_precision == "int8" and not self.objective.importance_sampling_correction:
            raise ConfigError(
                "rollout_precision int8 goes with importance_sampling_correction: what the copy "
                "draws is not the learner's"
            )
        default = ObjectiveConfig()
        own = [n for n, value in vars(default).items() if getattr(self, n) != value]
        if self.faithful and own:
            raise ConfigError(
                f"faithful decides {', '.join(own)} (as published); leave one of them out"
            )

    def _check_api(self) -> None:
        """ConfigError for what a server cannot do."""
        if not str(self.api).startswith(("http://", "https://")):
            raise ConfigError(f"api is {self.api}; it must begin with http:// or https://")
        if (self.temperature, self.top_p, self.top_k) != (1.0, 1.0, 0):
            raise ConfigError(
                "api goes with temperature 1, top_p 1 and top_k 0: a server's log-probabilities "
                "are those before them"
            )
        if self.api_weights == "adapter" and self.mode == "full":
            raise ConfigError(
                "mode full has no adapter that the server could load; take mode lora, or "
                "api_weights stale"
            )
        if self.api_weights == "stale" and not self.objective.importance_sampling_correction:
            raise ConfigError(
                "api_weights stale goes with importance_sampling_correction: the server's answers "
                "are not the learner's"
            )

    @property
    def n_answers(self) -> int:
        """Answers of a step."""
        return self.batch_size * self.accumulate

    @property
    def objective(self) -> ObjectiveConfig:
        """What is optimised."""
        if self.faithful:
            return PUBLISHED
        return ObjectiveConfig(**{f.name: getattr(self, f.name) for f in fields(ObjectiveConfig)})
