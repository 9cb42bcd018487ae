"""The settings of the stages adopt, replay, adapt and merge. No torch.

Not here: what the settings do (adopt.py, replay.py, adapt.py, merge.py).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from codling.core.errors import ConfigError
from codling.core.recipe import aside
from codling.core.shards import available_cores
from codling.tokens.config import FimLevel, PackConfig
from codling.train.config import LoopConfig, OptimizerConfig

AdaptMode = Literal["lora", "full"]


@dataclass(frozen=True, kw_only=True)
class AdoptConfig:
    """Settings of adopt."""

    model: Path = aside()
    """A checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    out_dir: Path = aside(Path("runs/tokenizer"))
    """Where its tokenizer goes."""


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Settings of replay: those of pack, for other code."""

    path: Path = aside()
    """A repository, folder or archive of other code."""
    tokenizer_dir: Path = aside(Path("runs/tokenizer"))
    """The base's own tokenizer (codling adopt)."""
    out_dir: Path = aside(Path("runs/replay"))
    """Where the token streams go."""
    own: bool = False
    """The code is yours: files without any licence are replayed too."""
    context: int = PackConfig.context
    """Tokens that the model sees at once."""
    fim_rate: float = PackConfig.fim_rate
    """Share of the pieces that become insertion tasks."""
    fim_spm_share: float = PackConfig.fim_spm_share
    """Share of the insertion tasks that show the suffix first."""
    fim_line_share: float = PackConfig.fim_line_share
    """Share of the insertion tasks whose hole is one line."""
    fim_level: FimLevel = PackConfig.fim_level
    """Whether whole samples or single windows become insertion tasks."""
    seed: int = 0
    """Decides which pieces become insertion tasks, and where their holes are."""
    workers: int = aside(factory=available_cores)
    """Processes; the result is the same for any number."""


@dataclass(frozen=True, kw_only=True)
class AdaptConfig(LoopConfig):
    """Settings of adapt."""

    model: Path = aside()
    """The base: a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    tokens_dir: Path = aside(Path("runs/tokens"))
    """Artefact of kind "tokens", packed with the base's own tokenizer (codling adopt)."""
    out_dir: Path = aside(Path("runs/adapter"))
    """Where the adapter goes, or with --mode full the checkpoint."""
    mode: AdaptMode = "lora"
    """lora: small matrices beside the linear layers, in files of their own; full: all weights."""
    rank: int = 16
    """lora: rank of the small matrices; 32 for more than 5 MB of code."""
    alpha: float = 32.0
    """lora: the change is multiplied by alpha / rank."""
    context: int = 0
    """Tokens that the model sees at once; 0 takes what the tokens were packed for, or 512."""
    batch_size: int = 4
    """Windows per micro-batch."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", learning_rate=5e-4, eps=1e-8)
    )
    """How gradients become updates."""
    full_rate_share: float = 0.1
    """full: all weights learn at this share of optimizer.learning_rate; LoRA wants about ten times
    the rate of full tuning."""
    validation_share: float = 0.05
    """Share of the training text that is set aside: the weights that do best on it are kept."""
    n_heldout_evals: int = 5
    """How often the set-aside part is measured on the way; the best of these is kept."""
    heldout_tokens: int = 4_096
    """Tokens of the set-aside part at most: measuring takes of the minutes."""
    replay_dir: Path | None = aside(None)
    """Tokens of other code, packed with the same tokenizer, against forgetting."""
    replay_share: float = 0.15
    """Share of the windows that come from replay_dir."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1 or self.alpha <= 0:
            raise ConfigError(
                f"rank is {self.rank} and alpha {self.alpha:g}; both must be positive"
            )
        if not 0 < self.validation_share <= 0.5:
            raise ConfigError("validation_share must lie above 0 and up to 0.5")
        if not 0 <= self.replay_share < 1 or not 0 < self.full_rate_share <= 1:
            raise ConfigError("replay_share must lie in [0, 1), full_rate_share in (0, 1]")

    def loop(self) -> "AdaptConfig":
        """The settings of the loop, with the learning rate of the mode."""
        if self.mode == "lora":
            return self
        rate = self.optimizer.learning_rate * self.full_rate_share
        muon_rate = self.optimizer.muon_learning_rate * self.full_rate_share
        optimizer = replace(self.optimizer, learning_rate=rate, muon_learning_rate=muon_rate)
        return replace(self, optimizer=optimizer)


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Settings of merge."""

    model: Path = aside()
    """The base that the adapter was made for."""
    adapter: Path = aside()
    """Folder of the adapter, from codling adapt or from peft."""
    out_dir: Path = aside(Path("runs/merged"))
    """Where the checkpoint goes."""
