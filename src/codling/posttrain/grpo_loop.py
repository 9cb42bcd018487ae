"""The loop of GRPO: ask, judge, learn, again.

Input: a model, exercises, settings, a folder. Output: the model's weights, and in the folder

    metrics.jsonl     a row per step: reward, pass_rate, frac_reward_zero_std, entropy, mean_length,
                      kl, clip_ratio, loss, grad_norm, seconds of each part, samples_per_second
    rollouts.jsonl    every answer with its verdict, reward and advantage
    heldout.jsonl     per measurement and held-out prompt, how many answers passed the hidden tests

A step is a function of the weights before it, the settings and its number, so a run that was
interrupted at any point goes on from its last saved state and gives the same weights, bit for bit;
only verdicts near their time limit, and the answers of a server, may differ. Entropy is the mean of
-log p of the drawn tokens.

Not here: the parts (rollout.py, api_sampler.py, rewards.py, learner.py), and what is written at the
end (grpo.py).
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from codling.core.artifact import SHARDS
from codling.core.errors import ConfigError
from codling.core.log import Bar, MetricsLog, say
from codling.model.device import choose_device, choose_type
from codling.model.transformer import Transformer
from codling.posttrain.answer_rows import Lesson
from codling.posttrain.api_sampler import ApiSampler
from codling.posttrain.config import GrpoConfig
from codling.posttrain.gains import HELDOUT
from codling.posttrain.learner import Learner, Reference, StepNotes
from codling.posttrain.objective import advantages, find_equal_groups, punish_length
from codling.posttrain.questions import Posed, list_said, measure, seed_of
from codling.posttrain.rewards import Assessment, Assessor, reward
from codling.posttrain.rollout import Drawing, Draws, Rollout, Sampler
from codling.tokens.dataset import EpochOrders
from codling.tokens.tokenizer import Tokenizer
from codling.train.config import LoopConfig
from codling.train.interrupt import StopSignal
from codling.train.machine import keep_freed_memory, set_threads
from codling.train.optim.flat import FlatWeights
from codling.train.optim.flat_optimizer import FlatOptimizer
from codling.train.schedule import rate_at
from codling.train.state import Position, load_state, read_position, save_state

METRICS, ROLLOUTS = "metrics.jsonl", "rollouts.jsonl"
_STATE = f"{SHARDS}/training.safetensors"
Score = Callable[[Sequence[tuple[Sequence[int], str]]], list[float]]
"""A reward model: what each prompt's answer is worth, from 0 to 1."""


@dataclass(frozen=True)
class Answered:
    """A step's answers, group after group."""

    questions: list[Posed]
    rollouts: list[Rollout]
    made: list[Assessment]
    rewards: list[float | None]
    seconds: tuple[float, float]
    """Of asking and of judging."""


class GrpoLoop:
    """One run, from its first step or from where it was interrupted."""

    def __init__(  # noqa: PLR0913 -- the parts of a run, each of its own kind
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        train: Sequence[Posed],
        heldout: Sequence[Posed],
        config: GrpoConfig,
        folder: Path,
        assessor: Assessor,
        score: Score | None = None,
    ) -> None:
        self._config, self._loop = config, _loop_settings(config, len(train))
        self._train, self._heldout, self._folder = train, heldout, folder
        self._assessor, self._score = assessor, score
        self._orders = EpochOrders(config.seed)
        saved = read_position(folder / _STATE)
        self.position = saved or Position(n_steps=self._loop.max_steps or 0)
        self.position.n_threads = set_threads(self.position.n_threads or config.threads)
        keep_freed_memory()
        device = choose_device(config.device)
        dtype, model = choose_type(config.precision, device), model.to(device)
        self._optimizer = FlatOptimizer(FlatWeights(model, dtype), self._loop.optimizer)
        # Before the saved weights are read: the reference is what the run began with.
        reference = Reference(model) if config.objective.beta else None
        if saved:
            load_state(folder / _STATE, self._optimizer)
            self.position.n_steps = self._loop.max_steps or self.position.n_steps
        self._sampler = self._open_sampler(model, tokenizer)
        self._drawing = Drawing(
            max_tokens=config.max_completion_length,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
        )
        self._learner = Learner(
            model,
            self._optimizer,
            config.objective,
            batch_size=config.batch_size,
            temperature=config.temperature,
            max_completion_length=config.max_completion_length,
            num_iterations=config.num_iterations,
            reference=reference,
        )

    def _open_sampler(self, model: Transformer, tokenizer: Tokenizer) -> Draws:
        config = self._config
        if config.api is not None:
            return ApiSampler(model, tokenizer, config, self._folder / SHARDS)
        longest = max(len(each.prompt_ids) for each in (*self._train, *self._heldout))
        return Sampler(
            model,
            tokenizer,
            n_at_once=min(config.n_at_once, max(config.n_answers, 1)),
            max_length=longest + config.max_completion_length,
            rounded=draws_rounded(config),
            step=self.position.step,
        )

    def run(self) -> None:
        """Learn to the end; afterwards the model's weights are the fp32 master copy.

        Raises SystemExit(143) after SIGTERM, with the state saved.
        """
        at = self.position
        metrics, answers = (
            MetricsLog(self._folder / name, keep_below_step=at.step) for name in (METRICS, ROLLOUTS)
        )
        kept = 0 if at.first_loss is None else at.step + 1
        heldout = MetricsLog(self._folder / HELDOUT, keep_below_step=kept)
        logs = (metrics, answers, heldout)
        if at.first_loss is None:
            at.first_loss = self._measure(heldout)
        saved_at = time.monotonic()
        with StopSignal() as stop, Bar("grpo", at.n_steps, done=at.step, unit="steps") as bar:
            while not at.n_steps or at.step < at.n_steps:
                note = self._one_step(metrics, answers, heldout)
                bar.total = at.n_steps
                bar.advance(1, note)
                late = time.monotonic() - saved_at > self._config.save_seconds
                if stop.requested or late:
                    self._save(logs)
                    saved_at = time.monotonic()
                if stop.requested:
                    where = f"step {at.step} of {at.n_steps}"
                    say(f"stopped at {where}, saved; the same command resumes")
                    raise SystemExit(stop.exit_code)
        self._save(logs)
        self._sampler.close()
        self._optimizer.restore()

    def _one_step(self, metrics: MetricsLog, answers: MetricsLog, heldout: MetricsLog) -> str:
        at, started = self.position, time.monotonic()
        rate = rate_at(at.step, max(1, at.n_steps), self._loop.schedule) if at.n_steps else 1.0
        answered = self._ask(at.step)
        found = self._advantages(answered)
        lessons = [
            Lesson(rollout=rollout, advantage=value)
            for rollout, value in zip(answered.rollouts, found, strict=True)
            if value is not None
        ]
        began = time.monotonic()
        notes = self._learner.learn(lessons, rate)
        row = self._row(answered, notes, rate)
        row["seconds_learning"] = round(time.monotonic() - began, 3)
        _write_answers(answers, at.step, answered, found)
        at.seconds += time.monotonic() - started
        row["samples_per_second"] = round(len(lessons) / (time.monotonic() - started), 3)
        at.step += 1
        if not at.n_steps:
            at.n_steps = max(1, int(self._config.minutes * 60 / at.seconds))
        metrics.write(**row)
        if self._is_measured_now():
            at.best_loss = self._measure(heldout)
        return f"reward {row['reward']:.3f}, passed {row['pass_rate']:.0%}"

    def _ask(self, step: int) -> Answered:
        """The answers of a step, judged."""
        started, config = time.monotonic(), self._config
        n_prompts = config.n_answers // config.num_generations
        chosen = [self._question(number) for number in _numbers(step, n_prompts)]
        asked = [question for question in chosen for _ in range(config.num_generations)]
        seeds = [seed_of(config.seed, step * config.n_answers + i) for i in range(len(asked))]
        asks = [question.ask(seed) for question, seed in zip(asked, seeds, strict=True)]
        self._sampler.follow(step)
        rollouts = self._sampler.draw(asks, self._drawing)
        between = time.monotonic()
        made = self._assessor.assess(list_said(asked, rollouts))
        rewards = self._rewards(rollouts, made)
        seconds = between - started, time.monotonic() - between
        return Answered(asked, rollouts, made, rewards, seconds)

    def _question(self, number: int) -> Posed:
        epoch, place = divmod(number, len(self._train))
        return self._train[int(self._orders.order(epoch, len(self._train))[place])]

    def _rewards(
        self, rollouts: Sequence[Rollout], made: Sequence[Assessment]
    ) -> list[float | None]:
        """What each answer is worth; None where the sandbox lost it."""
        config = self._config
        verdicts = [reward(each, config.rewards) for each in made]
        scores = [0.0] * len(rollouts)
        if self._score is not None:
            scores = self._score([(each.prompt_ids, each.text) for each in rollouts])
        of_verdict, of_model = {
            "verdicts": (1.0, 0.0),
            "model": (0.0, 1.0),
            "both": config.reward_weights,
        }[config.reward]
        cache, longest = config.objective.soft_punish_cache, config.max_completion_length
        return [
            None
            if verdict is None
            else of_verdict * verdict
            + of_model * score
            + punish_length(len(rollout.token_ids), longest, cache)
            for verdict, score, rollout in zip(verdicts, scores, rollouts, strict=True)
        ]

    def _advantages(self, answered: Answered) -> list[float | None]:
        """Of every answer; None for those that the step leaves out."""
        rewards_PG = _as_groups(answered.rewards, self._config.num_generations)
        found_PG = advantages(rewards_PG, self._config.objective)
        left_out_PG = rewards_PG.isnan()
        if self._config.objective.drop_equal_groups:
            left_out_PG = left_out_PG | find_equal_groups(rewards_PG)[:, None]
        pairs = zip(found_PG.flatten().tolist(), left_out_PG.flatten().tolist(), strict=True)
        return [None if left_out else value for value, left_out in pairs]

    def _row(self, answered: Answered, notes: StepNotes, rate: float) -> dict[str, Any]:
        known = [each for each in answered.rewards if each is not None] or [0.0]
        rewards_PG = _as_groups(answered.rewards, self._config.num_generations)
        logprobs = [value for each in answered.rollouts for value in each.logprobs]
        lengths = [len(each.token_ids) for each in answered.rollouts]
        grades = [each.grade for each in answered.made]
        return {
            "step": self.position.step,
            "reward": statistics.fmean(known),
            "reward_std": statistics.pstdev(known),
            "pass_rate": grades.count("passed") / len(grades),
            "timed_out": grades.count("timed out") / len(grades),
            "frac_reward_zero_std": float(find_equal_groups(rewards_PG).float().mean()),
            "entropy": -statistics.fmean(logprobs),
            "mean_length": statistics.fmean(lengths),
            "clipped_completions": sum(not e.ended for e in answered.rollouts) / len(lengths),
            "kl": notes.mean(notes.divergence),
            "clip_ratio": notes.mean(notes.clipped),
            "sampler_gap": notes.mean(notes.sampler_gap),
            "loss": notes.loss,
            "grad_norm": notes.grad_norm,
            "learning_rate": rate * self._loop.optimizer.learning_rate,
            "seconds_asking": round(answered.seconds[0], 3),
            "seconds_judging": round(answered.seconds[1], 3),
        }

    def _measure(self, log: MetricsLog) -> float:
        """The pass rate on the hidden tests of the held-out prompts; nan without any."""
        if not self._heldout:
            return float("nan")
        n, step = self._config.n_heldout_answers, self.position.step
        self._sampler.follow(step)
        rows = measure(
            self._sampler, self._assessor, self._heldout, n, self._drawing, self._config.seed
        )
        for row in rows:
            log.write(step=step, **row)
        rate = float(sum(row["n_passed"] for row in rows) / (n * len(rows)))
        say(f"after {step} steps {rate:.1%} of the held-out answers pass")
        return rate

    def _is_measured_now(self) -> bool:
        at, n = self.position, self._config.n_heldout_evals
        before, now = ((step * n) // at.n_steps for step in (at.step - 1, at.step))
        return now > before or at.step == at.n_steps

    def _save(self, logs: Sequence[MetricsLog]) -> None:
        for log in logs:
            log.sync()
        save_state(self._folder / _STATE, self.position, self._optimizer)


def draws_rounded(config: GrpoConfig) -> bool:
    """Whether answers come from a copy in 8 bits. ConfigError where there can be none."""
    if config.rollout_precision == "model" or config.api is not None:
        return False
    is_cpu = choose_device(config.device).type == "cpu" and os.name == "posix"
    if config.rollout_precision == "int8" and not is_cpu:
        raise ConfigError("rollout_precision int8 is for CPUs of Linux and macOS; take model")
    return is_cpu and config.objective.importance_sampling_correction


def _loop_settings(config: GrpoConfig, n_prompts: int) -> LoopConfig:
    """With the learning rate of the mode, and epochs as steps; no number of steps: minutes."""
    loop = config.loop()
    if config.max_steps is not None or not config.epochs:
        return loop
    per_step = config.n_answers // config.num_generations
    return replace(loop, max_steps=max(1, round(config.epochs * n_prompts / per_step)))


def _numbers(step: int, n_prompts: int) -> range:
    return range(step * n_prompts, (step + 1) * n_prompts)


def _as_groups(rewards: Sequence[float | None], n: int) -> torch.Tensor:
    known = [float("nan") if each is None else each for each in rewards]
    return torch.tensor(known).view(-1, n)


def _write_answers(
    log: MetricsLog, step: int, answered: Answered, found: Sequence[float | None]
) -> None:
    rows = zip(
        answered.questions, answered.rollouts, answered.made, answered.rewards, found, strict=True
    )
    for question, rollout, made, worth, advantage in rows:
        log.write(
            step=step,
            id=question.exercise.id,
            text=rollout.text,
            ended=rollout.ended,
            n_tokens=len(rollout.token_ids),
            grade=made.grade,
            share=made.share,
            reward=worth,
            advantage=advantage,
        )
