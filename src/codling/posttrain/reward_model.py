"""The stage reward-model: a scalar head learns which answers the sandbox would pass.

Input: answers with verdicts (rollouts.jsonl of grpo), their exercises, a model. Output: an
artefact of kind "reward-model": an adapter, or with --mode full a checkpoint, and the head in
score.safetensors. As published for Coder-V2, it is trained on the compiler's verdicts, in pairs and
in points, for the two answers w and l to one prompt, of which w is worth more:

    -log sigmoid(s(w) - s(l)) + points ((sigmoid s(w) - worth w)^2 + the same of l) / 2

s reads the hidden state at the last token. Prompts are held out as a whole: its accuracy is
that on prompts which it has never seen.

Not here: learning from its scores (grpo.py), and preferences of people (dpo.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated, Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from codling.checkpoint.adapter import load_adapter, merge
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_config, load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.checkpoint.verify import check_files, model_input
from codling.core.artifact import Draft, open_artifact
from codling.core.errors import SourceError
from codling.core.files import read_json_lines
from codling.core.inputs import source_input
from codling.core.log import say
from codling.core.memory import available_bytes
from codling.core.ranges import Context, Count, ProperShare, Range, Strength
from codling.core.recipe import aside, length
from codling.core.stage import Work, stage
from codling.grading.pass_at_k import wilson
from codling.model.device import choose_device, choose_type
from codling.model.transformer import Transformer
from codling.posttrain.answer_rows import Lesson, arrange, lay_out
from codling.posttrain.config import PosttrainConfig, count_steps
from codling.posttrain.grpo_loop import ROLLOUTS
from codling.posttrain.pair_step import PairStep
from codling.posttrain.plan import check_memory
from codling.posttrain.rollout import Rollout
from codling.posttrain.sharing import refuse_layout
from codling.posttrain.tasks.exercise import Exercise, is_held_out, read_exercises
from codling.posttrain.tasks.prompts import encode_prompt, tasks_input
from codling.posttrain.weights import check_vocabulary, prepare, publish
from codling.tokens.chat import ChatFormat
from codling.tokens.dataset import EpochOrders
from codling.tokens.tokenizer import Tokenizer
from codling.train.config import ExpertsConfig, OptimizerConfig, ScheduleConfig
from codling.train.loader import Batch
from codling.train.trainer import Trainer

KIND, HEAD = "reward-model", "score.safetensors"
_AT_ONCE = 16
"""Answers that are scored together."""


@dataclass(frozen=True, kw_only=True)
class RewardModelConfig(PosttrainConfig):
    """Settings of reward-model."""

    rollouts: tuple[Path, ...] = aside(())
    """Runs of grpo, or files like their rollouts.jsonl."""
    tasks_dir: Path = aside(Path("runs/tasks"))
    """The exercises that were answered."""
    out_dir: Path = aside(Path("runs/reward-model"))
    """Where the adapter, or with --mode full the checkpoint, and the head go."""
    context: Context = 1024
    """Tokens of a prompt with its answer at most; longer ones are left out."""
    heldout_share: ProperShare = 0.2
    """Share of the groups of prompts that are held out."""
    pairs_per_prompt: Count = 32
    """Pairs of answers to one prompt at most."""
    points: Strength = 1.0
    """Weight of the distance between a score and what the answer is worth, beside the pairs."""
    epochs: Annotated[float, Range(0, 10_000)] = length(1.0)
    """How often every pair is seen; 0 takes `minutes`. `max_steps` counts before both."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", learning_rate=2e-4, eps=1e-8)
    )
    """How gradients become updates; with --mode full at full_rate_share of the rate, 2e-5."""
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(name="cosine", warmup_steps=10)
    )
    """The learning rate over the run."""


@dataclass(frozen=True)
class Graded:
    """An answer's tokens with its prompt, and what it is worth."""

    ids: tuple[int, ...]
    worth: float


GradedPair = tuple[Graded, Graded]
"""The answer that is worth more, and the other."""


class RewardStep(PairStep):
    """The loss of the better and the other answer to a prompt.

    A row's targets are where its last token stands and what it is worth.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        compiled: bool,
        experts: ExpertsConfig | None = None,
        points: float = 1.0,
    ) -> None:
        super().__init__(model, compiled=compiled, experts=experts)
        self.points = points

    def loss_of_pairs(self, inputs_BL: Tensor, targets_BL: Tensor) -> Tensor:
        """Mean over the pairs."""
        scores_B = score_rows(self.model, inputs_BL, targets_BL[:, 0].long())
        pairs = -F.logsigmoid(scores_B[0::2] - scores_B[1::2]).mean()
        points = (scores_B.sigmoid() - targets_BL[:, 1]).square().mean()
        return pairs + self.points * points


class RewardModel:
    """A trained reward model, ready to score."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer

    @classmethod
    def open(cls, path: Path) -> Self:
        """From an artefact of kind "reward-model"."""
        config = open_artifact(path, KIND).manifest.config
        base = local_path(Path(config["model"]))
        is_adapter = config["mode"] == "lora"
        model = load_model(base if is_adapter else path)
        if is_adapter:
            merge(model, load_adapter(path))
        add_head(model)
        model.get_parameter("score.weight").data = load_file(path / HEAD)["score.weight"]
        return cls(model, open_tokenizer(base if is_adapter else path))

    @torch.no_grad()
    def score(self, answers: Sequence[tuple[Sequence[int], str]]) -> list[float]:
        """What each prompt's answer is worth, from 0 to 1; a group's prompt is computed once."""
        weight_1E = self._model.get_parameter("score.weight")
        lessons = [self._as_lesson(*answer) for answer in answers]
        found: dict[int, float] = {}
        for group in arrange(lessons, _AT_ONCE):
            rows = lay_out(group, weight_1E.device, self._model.embed_tokens.weight.dtype)
            hidden_RLE = self._model(rows.inputs_RL, branches=rows.branches)
            last_B = rows.places_BT[range(len(rows.mask_BT)), rows.mask_BT.sum(1) - 1]
            last_BE = hidden_RLE.flatten(0, 1)[last_B]
            scores_B = F.linear(last_BE, weight_1E.to(last_BE.dtype)).float()[:, 0].sigmoid()
            asked = [id(lesson) for row in group for lesson in row]
            found |= zip(asked, scores_B.tolist(), strict=True)
        return [found[id(lesson)] for lesson in lessons]

    def _as_lesson(self, prompt_ids: Sequence[int], text: str) -> Lesson:
        """An answer for a row; its last token is not fed, so one stands behind the text."""
        ids = (*self._tokenizer.encode(text), 0)
        rollout = Rollout(
            prompt_ids=tuple(prompt_ids),
            token_ids=ids,
            logprobs=(0.0,) * len(ids),
            text=text,
            ended=True,
        )
        return Lesson(rollout=rollout, advantage=0.0)


def add_head(model: Transformer) -> None:
    """Give the model a scalar head, at first 0 for everything."""
    head = nn.Linear(model.config.hidden_size, 1, bias=False)
    nn.init.zeros_(head.weight)
    model.add_module("score", head)


def score_rows(model: Transformer, inputs_BL: Tensor, last_B: Tensor) -> Tensor:
    """The head's score at each row's last token: [B]."""
    hidden_BLE = model(inputs_BL)
    last_BE = hidden_BLE[torch.arange(len(last_B), device=last_B.device), last_B]
    weight_1E = model.get_parameter("score.weight")
    return F.linear(last_BE, weight_1E.to(last_BE.dtype)).float()[:, 0]


@stage(KIND, version=1)
def reward_model(config: RewardModelConfig) -> Work:
    """Train a reward model on the sandbox's verdicts, in pairs and points.

    Its accuracy is that on prompts that it has not seen: how often it puts the better of two
    answers first.

    Raises SourceError if no two answers to a prompt differ in what they are worth.

    Example:
        codling reward-model runs/app/reinforced --tasks-dir runs/app/tasks \
--model runs/app/merged --out-dir runs/app/reward-model
    """
    refuse_layout(config, "reward-model")
    path = local_path(config.model)
    check_files(path)
    shape, tokenizer = load_config(path), open_tokenizer(path)
    check_vocabulary(config.model, shape, tokenizer.vocab_size)
    files = [_rows_file(each) for each in config.rollouts]
    if not files:
        raise SourceError("no rollouts; name a run of codling grpo, or its rollouts.jsonl")
    draft = yield [model_input(path), tasks_input(config.tasks_dir), *map(source_input, files)]
    exercises = {each.id: each for each in read_exercises(config.tasks_dir)}
    answers = read_answers(files, exercises, tokenizer, config.context)
    train, heldout = pair_up(answers, exercises, config)
    if not train:
        raise SourceError(f"no two answers in {files[0]} to one prompt differ in their reward")
    made = check_memory(shape, config, config.context, available_bytes())
    say(f"{made}; {len(train):,} pairs, {len(heldout):,} of other prompts are held out")
    model = prepare(path, config)
    add_head(model)
    orders, size = EpochOrders(config.seed), config.batch_size

    def batch(number: int) -> Batch:
        places = (divmod(i, len(train)) for i in range(number * size, (number + 1) * size))
        return lay_out_pairs([train[orders.order(e, len(train))[at]] for e, at in places])

    trainer = Trainer(
        model,
        batch,
        count_steps(config, config.epochs, len(train)),
        draft.path,
        heldout=tuple(lay_out_pairs(heldout[i : i + size]) for i in range(0, len(heldout), size)),
        keep_best=True,
        make_step=partial(RewardStep, points=config.points),
    )
    summary = trainer.run()
    _publish(draft, model, config, path, tokenizer.fim_mode)
    draft.counts |= {"pairs": len(train), "heldout_pairs": len(heldout)} | asdict(summary)
    model.to(choose_type(config.precision, choose_device(config.device)))  # trained weights too
    draft.counts |= measure_accuracy(model, heldout)


def read_answers(
    files: Sequence[Path], exercises: Mapping[str, Exercise], tokenizer: Tokenizer, context: int
) -> dict[str, list[Graded]]:
    """The answers with a verdict, by their exercise; one that was given twice counts once."""
    chat = ChatFormat(tokenizer)
    found: dict[str, dict[str, Graded]] = {}
    for file in files:
        for row in read_json_lines(file):
            exercise = exercises.get(row["id"])
            if exercise is None or row.get("reward") is None:
                continue
            ids = (*encode_prompt(exercise, tokenizer, chat), *tokenizer.encode(row["text"]))
            if len(ids) <= context:
                worth = min(1.0, max(0.0, row["share"]))
                worth = worth if row["grade"] == "passed" else worth / 2
                found.setdefault(row["id"], {})[row["text"]] = Graded(ids, worth - _fault(row))
    return {name: list(by_text.values()) for name, by_text in found.items()}


def pair_up(
    answers: Mapping[str, Sequence[Graded]],
    exercises: Mapping[str, Exercise],
    config: RewardModelConfig,
) -> tuple[list[GradedPair], list[GradedPair]]:
    """Pairs of answers to one prompt that differ in worth: to learn from, and held out by group."""
    train: list[GradedPair] = []
    heldout: list[GradedPair] = []
    for name in sorted(answers):
        pairs = list(_pairs(answers[name]))
        Random(f"{config.seed} {name}").shuffle(pairs)
        # Not grpo's split: the answers that it learned from are all to prompts of one side of it.
        out = is_held_out(exercises[name], config.heldout_share, config.seed, "pairs ")
        part = heldout if out else train
        part += pairs[: config.pairs_per_prompt]
    return train, heldout


def lay_out_pairs(pairs: Sequence[GradedPair]) -> Batch:
    """Inputs, and where each row ends with what it is worth; two rows a pair."""
    answers = [answer for pair in pairs for answer in pair]
    longest = max(len(each.ids) for each in answers)
    inputs = [[*each.ids, *[0] * (longest - len(each.ids))] for each in answers]
    targets = [[len(each.ids) - 1, max(0.0, each.worth)] for each in answers]
    return torch.tensor(inputs), torch.tensor(targets)


@torch.no_grad()
def measure_accuracy(model: Transformer, pairs: Sequence[GradedPair]) -> dict[str, Any]:
    """How often the better answer has the higher score, with its 95% interval; empty for none."""
    if not pairs:
        return {}
    n_right = 0
    for pair in pairs:
        inputs_BL, targets_B2 = lay_out_pairs([pair])
        better, other = score_rows(model, inputs_BL, targets_B2[:, 0].long()).tolist()
        n_right += better > other
    accuracy, (low, high) = n_right / len(pairs), wilson(n_right, len(pairs))
    headline = (
        f"on prompts it has not seen it puts the better answer first in {accuracy:.1%} of "
        f"{len(pairs):,} pairs ({low:.1%} to {high:.1%}; 50% is chance)"
    )
    return {"accuracy": accuracy, "headline": headline}


def _pairs(answers: Sequence[Graded]) -> Iterator[GradedPair]:
    for better in answers:
        for other in answers:
            if better.worth > other.worth:
                yield better, other


def _fault(row: Mapping[str, Any]) -> float:
    """What sets an answer that does not load or parse below one that runs: only in pairs."""
    return -min(0.0, float(row["reward"]))


def _rows_file(path: Path) -> Path:
    file = path / ROLLOUTS if path.is_dir() else path
    if not file.is_file():
        raise SourceError(f"{path} has no {ROLLOUTS}; name a run of codling grpo, or such a file")
    return file


def _publish(
    draft: Draft, model: Transformer, config: RewardModelConfig, path: Path, fim_mode: str
) -> None:
    """The head in a file of its own, and the rest as every other training writes it."""
    weight = model.get_parameter("score.weight").detach().float().contiguous().clone()
    save_file({"score.weight": weight}, draft.file(HEAD))
    delattr(model, "score")
    publish(draft, model, config, path, fim_mode)
    model.add_module("score", nn.Linear(weight.shape[1], 1, bias=False))
    model.get_parameter("score.weight").data = weight
