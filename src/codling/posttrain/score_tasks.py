"""The stage score-tasks: how many of a model's answers pass hidden tests.

Input: a model, perhaps with an adapter, and exercises (codling data tasks). Output: an artefact of
kind "task-scores" with heldout.jsonl, a row per held-out exercise, as grpo writes them; with the
same settings and seed it asks what grpo asks.

Not here: the asking (questions.py), and the benchmarks that are published (evaluate/).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from codling.checkpoint.adapter import adapter_input
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_config, load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.checkpoint.verify import check_files, model_input
from codling.core.errors import SourceError
from codling.core.files import write_json_lines
from codling.core.ranges import (
    MAX_CONTEXT,
    Batch,
    Count,
    CountFromZero,
    PositiveShare,
    Range,
    Ranged,
    Seed,
    WorkersFromZero,
)
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.model.device import choose_device, choose_type
from codling.posttrain.gains import HELDOUT, rate_of, read_curve
from codling.posttrain.questions import Posed, encode, hold_out, measure
from codling.posttrain.rewards import Assessor, RewardConfig
from codling.posttrain.rollout import Drawing, Sampler
from codling.posttrain.tasks.exercise import read_exercises
from codling.posttrain.tasks.prompts import tasks_input
from codling.posttrain.weights import check_vocabulary
from codling.tokens.tokenizer import Tokenizer
from codling.train.machine import set_threads

KIND = "task-scores"


@dataclass(frozen=True, kw_only=True)
class ScoreTasksConfig(Ranged):
    """Settings of score-tasks; those of the same names as grpo's mean the same."""

    model: Path = aside()
    """A checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    adapter: Path | None = aside(None)
    """An adapter of the model, from grpo, tune or peft."""
    tasks_dir: Path = aside(Path("runs/tasks"))
    """Artefact of kind "tasks" (codling data tasks), or a file of such rows."""
    out_dir: Path = aside(Path("runs/task-scores"))
    """Where the scores go."""
    template: str | None = None
    """The chat template; by default the model's own."""
    heldout_share: PositiveShare = 0.2
    """Share of the groups of prompts that are asked: those that grpo holds out; 1: all."""
    n_heldout_answers: Batch = 4
    """Answers to each of them."""
    max_heldout: Count = 200
    """Prompts at most."""
    max_completion_length: Annotated[int, Range(1, MAX_CONTEXT)] = 128
    """Tokens of an answer at most."""
    temperature: Annotated[float, Range(0, 100)] = 1.0
    """Of the answers; 0 takes the likeliest token."""
    top_p: PositiveShare = 1.0
    """Draw from the likeliest tokens that together have this probability."""
    top_k: CountFromZero = 0
    """Draw from this many likeliest tokens; 0 means all."""
    n_at_once: Batch = aside(64)
    """Answers that grow together."""
    rewards: RewardConfig = field(default_factory=RewardConfig)
    """Its `seconds` are the run time of a program."""
    seed: Seed = 0
    """Decides which prompts are held out, and the answers."""
    workers: WorkersFromZero = aside(0)
    """Sandboxes at once; 0 takes every core."""
    precision: Literal["auto", "bf16", "fp32"] = "fp32"
    """Type of the matrix products."""
    device: str = aside("auto")
    """auto takes a GPU if there is one."""
    threads: CountFromZero = aside(0)
    """CPU threads; 0 takes every core."""


@stage(KIND, version=1)
def score_tasks(config: ScoreTasksConfig) -> Work:
    """How many of a model's answers to held-out prompts pass their hidden tests.

    Raises SourceError if no prompt is held out, ToolMissingError without a sandbox.

    Example:
        codling score-tasks runs/app/tasks --model runs/app/merged --heldout-share 1
    """
    path = local_path(config.model)
    check_files(path)
    shape, tokenizer = load_config(path), open_tokenizer(path)
    check_vocabulary(config.model, shape, tokenizer.vocab_size)
    inputs = [model_input(path), tasks_input(config.tasks_dir)]
    if config.adapter is not None:
        inputs.append(adapter_input(config.adapter))
    draft = yield inputs
    room = shape.max_position - config.max_completion_length
    posed = list(encode(read_exercises(config.tasks_dir), tokenizer, room, config.template))
    asked = hold_out(posed, config.heldout_share, config.seed)[1][: config.max_heldout]
    if not asked:
        raise SourceError(
            f"of {len(posed):,} prompts in {config.tasks_dir} none is held out; a larger "
            "heldout_share, or 1 for all"
        )
    with Assessor(workers=config.workers, seconds=config.rewards.seconds) as assessor:
        assessor.require(each.exercise for each in asked)
        sampler, drawing = _open_sampler(config, path, tokenizer, asked)
        rows = measure(sampler, assessor, asked, config.n_heldout_answers, drawing, config.seed)
        sampler.close()
    write_json_lines(draft.file(HELDOUT), [{"step": 0, **row} for row in rows])
    mean, low, high = rate_of(read_curve(draft.path)[0])
    draft.counts |= {"prompts": len(asked), "pass_rate": mean}
    draft.counts["headline"] = (
        f"{mean:.1%} of the answers to {len(asked):,} held-out prompts pass their hidden tests "
        f"({low:.1%} to {high:.1%}, 95%)"
    )


def _open_sampler(
    config: ScoreTasksConfig, path: Path, tokenizer: Tokenizer, asked: Sequence[Posed]
) -> tuple[Sampler, Drawing]:
    set_threads(config.threads)
    device = choose_device(config.device)
    dtype = choose_type(config.precision, device)
    model = load_model(path, dtype=dtype, adapter=config.adapter).to(device)
    longest = max(len(each.prompt_ids) for each in asked)
    sampler = Sampler(
        model,
        tokenizer,
        n_at_once=min(config.n_at_once, len(asked) * config.n_heldout_answers),
        max_length=longest + config.max_completion_length,
    )
    drawing = Drawing(
        max_tokens=config.max_completion_length,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
    )
    return sampler, drawing
