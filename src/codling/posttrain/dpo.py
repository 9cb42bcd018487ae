"""The stage dpo: a tuned model learns which of two answers is better (arXiv:2305.18290).

Input: a model and rows with chosen and rejected answers (preferences.py). Output: an artefact of
kind "adapter". The loss of a pair, with w the chosen and l the rejected answer to x:

    -log sigmoid(beta ((log p(w|x) - log r(w|x)) - (log p(l|x) - log r(l|x))))

p is the model with its adapter, the reference r the same model with the adapter off; so the loss is
ln 2 before the first update. An answer's probability is that of all its tokens and its end.

Not here: tuning on answers (tune.py), which comes first; learning from tests or rewards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from codling.checkpoint.adapter import ADAPTER
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_config
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.checkpoint.turns import Turns, write_adapter_turns
from codling.checkpoint.verify import check_files, model_input
from codling.core.errors import ConfigError, TokenizerError
from codling.core.inputs import source_input
from codling.core.log import say
from codling.core.memory import available_share
from codling.core.ranges import Context, PositiveStrength, ProperShare, Range
from codling.core.recipe import aside, length
from codling.core.stage import Work, stage
from codling.model.transformer import Transformer
from codling.posttrain.config import PosttrainConfig, count_steps
from codling.posttrain.lora import LoraLinear
from codling.posttrain.pair_step import PairStep
from codling.posttrain.plan import RankShare, check_memory
from codling.posttrain.preferences import LabelledPair, Pairs, read_pairs
from codling.posttrain.sharing import refuse_layout
from codling.posttrain.weights import check_vocabulary, prepare, publish
from codling.tokens.dialogue_labels import DialogueEncoder
from codling.train.config import ExpertsConfig, OptimizerConfig, ScheduleConfig
from codling.train.loader import Batch
from codling.train.loss import IGNORED, chunked_cross_entropy
from codling.train.parallel.ranks import join_ranks
from codling.train.run import check_rows, produce_on_ranks
from codling.train.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class DpoConfig(PosttrainConfig):
    """Settings of dpo."""

    files: tuple[Path, ...] = aside()
    """JSON Lines (also .gz) or .json with a list: rows with chosen and rejected."""
    out_dir: Path = aside(Path("runs/preferred"))
    """Where the adapter goes."""
    template: str | None = None
    """The chat template; by default the model's own."""
    context: Context = 2048
    """Tokens of a question with its answer at most; longer ones are left out."""
    heldout_share: ProperShare = 0.05
    """Share of the questions that is held out, to choose the best weights by."""
    beta: PositiveStrength = 0.1
    """How much the model may move away from the one that it was: less with more."""
    epochs: Annotated[float, Range(0, 10_000)] = length(1.0)
    """How often every pair is seen; 0 takes `minutes`. `max_steps` counts before both."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", learning_rate=5e-5, eps=1e-8)
    )
    """How gradients become updates."""
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(name="cosine", warmup_steps=10)
    )
    """The learning rate over the run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files:
            raise ConfigError("files is empty; name a file of JSON Lines")
        if folder := next((path for path in self.files if path.is_dir()), None):
            raise ConfigError(f"{folder} is a folder; name the files of JSON Lines in it")
        if self.mode == "full":
            raise ConfigError("mode is full, but dpo's reference is the base with its adapter off")


class PreferenceStep(PairStep):
    """The loss of a question's chosen and rejected answer."""

    def __init__(
        self,
        model: Transformer,
        *,
        compiled: bool,
        experts: ExpertsConfig | None = None,
        beta: float = 0.1,
    ) -> None:
        super().__init__(model, compiled=compiled, experts=experts)
        self.beta = beta

    def loss_of_pairs(self, inputs_BL: Tensor, targets_BL: Tensor) -> Tensor:
        """Mean over the pairs."""
        with torch.no_grad(), switch_adapter_off(self.model):
            reference_B = self._log_probabilities(inputs_BL, targets_BL)
        gain_B = self._log_probabilities(inputs_BL, targets_BL) - reference_B
        return -F.logsigmoid(self.beta * (gain_B[0::2] - gain_B[1::2])).mean()

    def _log_probabilities(self, inputs_BL: Tensor, targets_BL: Tensor) -> Tensor:
        """Of every row's counted tokens together, in nats: [B]."""
        hidden_BLE = self.model(inputs_BL)
        weight = self.model.lm_head.weight
        n_B = (targets_BL != IGNORED).sum(1)
        means = [
            chunked_cross_entropy(hidden_LE, weight, targets_L)
            for hidden_LE, targets_L in zip(hidden_BLE, targets_BL, strict=True)
        ]
        return -torch.stack(means) * n_B


@contextmanager
def switch_adapter_off(model: Transformer) -> Iterator[None]:
    """A block in which the model is the one that LoRA was put beside."""
    layers = [module for module in model.modules() if isinstance(module, LoraLinear)]
    scales = [layer.scale for layer in layers]
    try:
        for layer in layers:
            layer.scale = 0.0
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale


@stage(lambda _: ADAPTER, version=1, produce=produce_on_ranks)
def dpo(config: DpoConfig) -> Work:
    """Teach a tuned model which of two answers is better (DPO): an adapter, resumably.

    Rows have a prompt with chosen and rejected, as texts or as messages. The reference is the model
    that it starts from.

    Raises ConfigError if the memory is too small, SourceError if no row can be used.

    Example:
        codling dpo pairs.jsonl --model runs/app/merged --out-dir runs/app/preferred
    """
    refuse_layout(config, "dpo")
    path = local_path(config.model)
    check_files(path)
    shape, tokenizer = load_config(path), open_tokenizer(path)
    eos = tokenizer.specials.eos
    if eos is None:
        raise TokenizerError(f"{config.model} names no eos token; tuning needs one")
    check_vocabulary(config.model, shape, tokenizer.vocab_size)
    encoder = DialogueEncoder(tokenizer, config.template, min(config.context, shape.max_position))
    ranks = join_ranks()
    check_rows(config, ranks)
    draft = yield [model_input(path), *map(source_input, config.files)]
    train, heldout = read_pairs(config.files, encoder, config.heldout_share, config.seed)
    pairs = Pairs(train, config.context, eos, config.seed)
    rows = replace(config, batch_size=2 * config.batch_size)
    made = check_memory(shape, rows, config.context, available_share(), RankShare(ranks.n_ranks))
    say(f"{made}; {len(train):,} pairs, {len(heldout):,} are held out")
    model = prepare(path, config)
    trainer = Trainer(
        model,
        lambda number: pairs.micro_batch(number, config.batch_size, ranks),
        count_steps(config, config.epochs, len(pairs)),
        draft.path,
        heldout=_heldout(config, heldout, eos),
        ranks=ranks,
        keep_best=True,
        make_step=partial(PreferenceStep, beta=config.beta),
    )
    summary = trainer.run()
    if ranks.is_main:
        publish(draft, model, config, path, tokenizer.fim_mode)
        ends = dict.fromkeys(pair[0].ids[-1] for pair in train)
        write_adapter_turns(draft.path, Turns(encoder.source, tuple(ends)))
        draft.counts |= {"pairs": len(train), "trained": made.n_trained} | asdict(summary)


def _heldout(config: DpoConfig, pairs: list[LabelledPair], filler: int) -> tuple[Batch, ...]:
    """The held-out pairs in batches, up to `heldout_tokens`."""
    if not pairs or not config.n_heldout_evals:
        say("no pairs are held out and measured; the last weights are kept, not the best")
        return ()
    n = max(1, config.heldout_tokens // (2 * config.context))
    made = Pairs(pairs[:n], config.context, filler, 0)
    size = config.batch_size
    return tuple(made.batch(range(i, min(i + size, len(made)))) for i in range(0, len(made), size))
