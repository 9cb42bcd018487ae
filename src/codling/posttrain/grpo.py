"""The stage grpo: a model learns from the tests that its own answers pass.

Input: a model and exercises with tests (codling data tasks). Output: an artefact of kind "adapter",
or with all weights trained "checkpoint", with the run's metrics, every answer and a page. In turn
the engine asks the model (rollout.py), the sandbox judges (rewards.py), the learner updates
(learner.py).

Not here: making exercises (tasks/), and learning from pairs (dpo.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_config
from codling.checkpoint.settings import to_published
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.checkpoint.verify import check_files, model_input
from codling.core.artifact import Draft, open_artifact
from codling.core.errors import SourceError
from codling.core.files import read_json_lines, write_text
from codling.core.log import say
from codling.core.memory import available_bytes
from codling.core.stage import Work, stage
from codling.model.config import ModelConfig
from codling.posttrain.answer_rows import tokens_per_answer
from codling.posttrain.config import GrpoConfig
from codling.posttrain.gains import interval_of_gain, rate_of, read_curve
from codling.posttrain.grpo_loop import METRICS, ROLLOUTS, GrpoLoop, draws_rounded
from codling.posttrain.plan import MemoryPlan, check_memory
from codling.posttrain.questions import Posed, encode, hold_out
from codling.posttrain.reward_model import KIND as REWARD_MODEL
from codling.posttrain.reward_model import RewardModel
from codling.posttrain.rewards import Assessor
from codling.posttrain.rounded_copy import rounded_bytes
from codling.posttrain.sharing import refuse_layout
from codling.posttrain.tasks.exercise import read_exercises
from codling.posttrain.tasks.prompts import tasks_input
from codling.posttrain.weights import check_vocabulary, kind_of, prepare, publish
from codling.report.page import render_page
from codling.tokens.tokenizer import Tokenizer

PAGE = "grpo.html"
_N_SHOWN = 4
"""Answers of a step that the page shows."""


@stage(kind_of, version=1)
def grpo(config: GrpoConfig) -> Work:
    """Learn from the tests that the model's own answers pass (GRPO), resumably: an adapter, or with
    --mode full all weights.

    Each step asks for a group of answers to some prompts, runs them in the sandbox, and makes
    likelier what did better than its group. Hidden tests of held-out prompts measure what it
    brings.

    Raises SourceError if no prompt can be used, ToolMissingError without a sandbox, ConfigError if
    the memory is too small.

    Example:
        codling grpo runs/app/tasks --model runs/app/merged --out-dir runs/app/reinforced
    """
    refuse_layout(config, "grpo")
    path = local_path(config.model)
    check_files(path)
    shape, tokenizer = load_config(path), open_tokenizer(path)
    check_vocabulary(config.model, shape, tokenizer.vocab_size)
    if config.mode == "full":
        to_published(shape)  # refuses, before any training, what could not be saved
    inputs = [model_input(path), tasks_input(config.tasks_dir)]
    if config.reward_model_dir is not None:
        inputs.append(open_artifact(config.reward_model_dir, REWARD_MODEL))
    draft = yield inputs
    room = shape.max_position - config.max_completion_length
    questions, train, heldout = _choose_prompts(config, tokenizer, room)
    made = _check_memory(shape, config, questions)
    heldout = heldout[: config.max_heldout]
    say(f"{made}; {len(train):,} prompts, {len(heldout):,} are held out")
    with Assessor(workers=config.workers, seconds=config.rewards.seconds) as assessor:
        assessor.require(question.exercise for question in (*train, *heldout))
        model = prepare(path, config)
        scores = config.reward_model_dir
        score = None if scores is None else RewardModel.open(scores).score
        loop = GrpoLoop(model, tokenizer, train, heldout, config, draft.path, assessor, score)
        loop.run()
    publish(draft, model, config, path, tokenizer.fim_mode)
    draft.counts |= {"prompts": len(train), "trained": made.n_trained}
    draft.counts |= summarise_run(draft.path)
    write_page(draft)


def _choose_prompts(
    config: GrpoConfig, tokenizer: Tokenizer, room: int
) -> tuple[list[Posed], list[Posed], list[Posed]]:
    """All prompts that fit, those to learn from, and those held out; SourceError if there is
    nothing to learn from."""
    exercises = list(read_exercises(config.tasks_dir))
    if not exercises:
        raise SourceError(f"{config.tasks_dir} has no rows")
    questions = list(encode(exercises, tokenizer, room))
    train, heldout = hold_out(questions, config.heldout_share, config.seed)
    if questions and not train:
        raise SourceError(
            f"all {len(questions)} prompts of {config.tasks_dir} are held out; give more, or lower "
            "--heldout-share"
        )
    if not train:
        raise SourceError(
            f"no prompt of {config.tasks_dir} leaves room for an answer of "
            f"{config.max_completion_length} tokens in {config.model}"
        )
    if config.heldout_share and not heldout:
        say(
            "no prompt is held out, so what it brings is not measured: they are held out by group "
            "(or id), and there are few; another --seed or --heldout-share chooses others"
        )
    return questions, train, heldout


def _check_memory(shape: ModelConfig, config: GrpoConfig, questions: Sequence[Posed]) -> MemoryPlan:
    """The plan, in which a group's answers share their prompt; ConfigError if it is too large."""
    longest = max(len(each.prompt_ids) for each in questions)
    n_group = min(config.batch_size, config.num_generations)
    context = tokens_per_answer(longest, config.max_completion_length, n_group)
    free, beside = available_bytes(), rounded_bytes(shape) if draws_rounded(config) else 0
    return check_memory(shape, config, context, None if free is None else free - beside)


def summarise_run(folder: Path) -> dict[str, Any]:
    """What the manifest says: the held-out pass rate before and after, with the gain's interval."""
    rows = list(read_json_lines(folder / METRICS))
    counts: dict[str, Any] = {"n_steps": len(rows)}
    if rows:
        last = rows[-max(1, len(rows) // 20) :]
        counts["reward"] = sum(row["reward"] for row in last) / len(last)
    curve = read_curve(folder)
    if len(curve) > 1:
        first, last_step = min(curve), max(curve)
        counts["heldout_before"] = rate_of(curve[first])[0]
        counts["heldout_after"] = rate_of(curve[last_step])[0]
        low, high = interval_of_gain(curve[first], curve[last_step])
        counts |= {"gain_low": low, "gain_high": high}
        counts["headline"] = (
            f"hidden tests of held-out prompts: {counts['heldout_before']:.1%} -> "
            f"{counts['heldout_after']:.1%} (gain {low:+.1%} to {high:+.1%}, 95%)"
        )
    return counts


def write_page(draft: Draft) -> None:
    """A page with the curves, and some answers of every tenth of the run."""
    rows = list(read_json_lines(draft.path / METRICS))
    every = max(1, len(rows) // 10)
    shown: dict[int, list[dict[str, Any]]] = {}
    for row in read_json_lines(draft.path / ROLLOUTS):
        step = row["step"]
        if (step % every == 0 or step == len(rows) - 1) and len(shown.get(step, [])) < _N_SHOWN:
            shown.setdefault(step, []).append(row)
    curve = [(step, *rate_of(passed)) for step, passed in sorted(read_curve(draft.path).items())]
    steps = [row for row in rows if row["step"] in shown]
    page = render_page(
        "codling.posttrain",
        PAGE,
        rows=steps,
        shown=shown,
        curve=curve,
        headline=draft.counts.get("headline", ""),
    )
    write_text(draft.file(PAGE), page)
