"""The one training loop, for everything that is trained.

Input: a model, batches as a function of the step, a LoopConfig, a folder. Output: the model's
weights, and in the folder metrics.jsonl: a row per step with step, loss, bits_per_byte,
learning_rate, grad_norm, tokens_per_second, seconds, from time to time heldout_loss.

A run of `max_steps` depends on nothing but its settings. Given minutes, the number of steps follows
from the speed of a few steps that are undone; it is changed on the way only if the machine
becomes much slower or faster. State is saved every
`save_seconds`; an interrupted run goes on from there and gives the same losses, bit for bit.
SIGTERM and Ctrl-C save and stop. With other minutes or steps it goes on as well, and the rest of
the schedule is planned again.

Parameters that need no gradient are not trained.

Not here: what the batches are and what is done with the weights (pretrain.py, extend.py,
posttrain/).
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from codling.core.errors import ConfigError
from codling.core.log import Bar, MetricsLog, say
from codling.model.device import choose_device, choose_type
from codling.model.transformer import Transformer
from codling.train.config import ExpertsConfig, LoopConfig
from codling.train.crew import Crew, Do, Instruction, choose_members
from codling.train.heldout_loss import HeldoutLoss
from codling.train.interrupt import StopSignal
from codling.train.languages import HeldoutLanguages
from codling.train.length import plan_new_length, replan, seconds_left
from codling.train.loader import Batch, Batches, Clock, Loader
from codling.train.machine import keep_freed_memory, set_threads
from codling.train.optim.flat import FlatWeights
from codling.train.optim.flat_optimizer import FlatOptimizer
from codling.train.optim.optimizer import Optimizer
from codling.train.optim.sharded_optimizer import ShardedOptimizer
from codling.train.parallel.mesh import RankLayout
from codling.train.parallel.ranks import Ranks
from codling.train.parallel.share import Sharing, share_model
from codling.train.pipeline_step import PipelineStep
from codling.train.rates import StepRates
from codling.train.readings import Readings, Row
from codling.train.saves import open_saves
from codling.train.schedule import micro_batches, rate_at
from codling.train.spikes import go_back, limit_of, note_loss, note_spike, wants_rollback
from codling.train.state import Position
from codling.train.step import LossStep
from codling.train.summary import METRICS, Summary, describe_step, summarize
from codling.train.trackers import Tracker, numbers_of, open_trackers

MAX_HELDOUT_SHARE = 0.1
"""Share of the minutes that may be spent on measuring the held-out loss."""
MAX_COMPILE_SHARE = 0.2
"""Share of the minutes that may be spent on compiling; a run that would need more is eager."""
_MAX_SKIPPED_IN_A_ROW = 20
_SPIKE = "is_spike"
_TIMED_STEPS, _TIMED_SECONDS, _MAX_TIMED_SHARE = 3, 4.0, 0.1


class Trainer:
    """One training run, from its first step or from where it was interrupted."""

    _began: float
    """When this process began to prepare the run."""
    _checked: tuple[int, float]
    """When the plan was last compared with the clock: steps and seconds."""
    _in_a_row: int
    """Steps in a row that were skipped."""
    _shown: str
    """The progress bar's note on the last step."""

    def __init__(  # noqa: PLR0913 (the parts of a run, each of its own kind)
        self,
        model: Transformer,
        batches: Batches,
        config: LoopConfig,
        folder: Path,
        *,
        heldout: tuple[Batch, ...] = (),
        languages: HeldoutLanguages | None = None,
        bytes_per_token: float | None = None,
        experts: ExpertsConfig | None = None,
        ranks: Ranks | None = None,
        keep_best: bool = False,
        patience: int = 0,
        on_heldout: Callable[[int], None] | None = None,
        make_step: Callable[..., LossStep] | None = None,
        layout: RankLayout | None = None,
        crew: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        """`folder` keeps state and metrics; `bytes_per_token` turns losses into bits per byte, and
        `languages` the held-out one's by language. `keep_best` ends with the weights of the lowest
        held-out loss, the first included; after `patience` measurements without a lower one the run
        ends. `on_heldout` is called after each of them with the number of steps. `make_step` makes
        another loss; `layout`: how the ranks share the model. `crew`: processes may share a
        batch; see take_part. `clock` gives seconds.
        """
        self.config, self.bytes_per_token, self.folder = config, bytes_per_token, folder
        self.ranks, self.clock = ranks or Ranks(), clock
        self.device = choose_device(config.device)
        self.readings = Readings(self.device)
        self._shards, self._sharing = layout, cast("Sharing | None", None)
        self.saves = open_saves(folder, self.ranks, is_shared=bool(layout))
        saved = self.saves.find()
        self.position = saved or Position(compiled=config.compile and not self._shards)
        self.model = model.train().to(self.device)
        self._threads_before = torch.get_num_threads()
        first_BL = batches(0)[0]
        self.rates = StepRates(self.model, first_BL, self.ranks.n_data)
        self.crew = self._prepare_machine(first_BL, chooses=crew and saved is None)
        self.loader = Loader(self.crew.share(batches), self.device, clock=clock)
        self.heldout = HeldoutLoss(heldout, self.device, self.crew, clock, languages)
        self.optimizer = self._make_optimizer()
        self.step_fn = self._make_step(make_step or LossStep, experts)
        self._patience, self._on_heldout, self._began = patience, on_heldout, self.clock()
        self._trackers, self._in_a_row, self._shown = list[Tracker](), 0, ""
        self.best = self._begin_best() if keep_best else None
        if saved:
            self.saves.load(self.optimizer, self.best, self.step_fn.state())
        self._checked = (self.position.step, self.position.seconds)

    def run(self) -> Summary:
        """Train to the end; afterwards the model's weights are the fp32 master copy.

        Raises ConfigError if the loss stays not finite, SystemExit(143) after SIGTERM.
        """
        try:
            self._run()
        finally:
            self.crew.close()
            self.loader.close()
            self.saves.close()
            self.step_fn.release()
            torch.set_num_threads(self._threads_before)
        if self.ranks.is_main:
            self.step_fn.write_report(self.folder)
        if self.best is not None:
            _copy(self.best, self.optimizer.weights())
        self.optimizer.restore()
        n_tokens = self.rates.tokens_per_micro_batch
        n_tokens *= micro_batches(self.position.n_steps, self.config).start
        log = self.folder / METRICS if self.ranks.is_main else None
        return summarize(self.position, log, n_tokens, keeps_best=self.best is not None)

    def _run(self) -> None:
        self._began = self.clock()
        self._plan_remaining()
        if not self.position.n_steps or self.position.step < self.position.n_steps:
            first = micro_batches(self.position.step, self.config).start
            self.step_fn.warm_up(*self.loader(first), limit=self._compile_limit)
            self.position.compiled = self.step_fn.compiled
            self._limit_heldout()
            n_processes = self.crew.n * self.ranks.n_ranks
            self.rates.measure_peak(self.device, self._dtype, n_processes)
            self.crew.start(self._follow)
            if self.best is not None and self.position.first_loss is None:
                self.position.first_loss = self.position.best_loss = self.heldout.measure(
                    self.step_fn
                )
                self._tell_heldout()
            if not self.position.n_steps:
                self.position.n_steps = self.config.max_steps or self._steps_in_time()
            self.position.preparing_seconds += self._seconds_preparing()
            kept = self.position.step if self.ranks.is_main else None  # one process writes
            log = MetricsLog(self.folder / METRICS, keep_below_step=kept)
            told = self.config.report_to if self.ranks.is_main else ()
            settings = asdict(self.config)
            with open_trackers(told, self.folder, settings, self.position.step) as self._trackers:
                self._train(log)
                # So that nothing is trained again if the checkpoint cannot be written.
                self._save(log)
                self.saves.wait()

    def _train(self, log: MetricsLog) -> None:
        at = self.position
        saved_at = self.clock()
        with StopSignal() as stop, Bar("train", at.n_steps, done=at.step, unit="steps") as bar:
            while at.step < at.n_steps:
                self._one_step(log)
                if wants_rollback(at, self.config.spikes):
                    self._roll_back(log)
                    at, bar.done = self.position, self.position.step
                bar.advance(1, self._shown)
                bar.total = self._replan_if_needed()
                began = self.clock()
                stops = self._agree(stop.requested)
                if self._agree(stops or began - saved_at > self.config.save_seconds):
                    self._save(log)
                    saved_at = self.clock()
                if stops:
                    self.saves.wait()
                    where = f"step {at.step} of {at.n_steps}"
                    say(f"stopped at {where}, saved; the same command resumes")
                    raise SystemExit(stop.exit_code)

    def _prepare_machine(self, inputs_BL: Tensor, *, chooses: bool) -> Crew:
        """Threads and memory as the run is to have them, and its crew."""
        at, n_ranks = self.position, self.ranks.n_ranks
        if chooses and n_ranks == 1:
            at.n_members = choose_members(self.config, self.model, inputs_BL)
        crew = Crew(at.n_members)
        at.n_threads = set_threads(1 if crew.n > 1 else at.n_threads or self.config.threads)
        keep_freed_memory()
        return crew

    def _seconds_preparing(self) -> float:
        return self.clock() - self._began

    @property
    def _compile_limit(self) -> float | None:
        """Seconds that compiling may take; a resumed run computes as it began."""
        if self.config.max_steps is not None or self.position.step:
            return None
        return MAX_COMPILE_SHARE * self.config.minutes * 60

    def _plan_remaining(self) -> None:
        """Plan the rest of an unfinished run that goes on with other minutes or steps."""
        at, config = self.position, self.config
        begun, now = at.max_steps or at.minutes, config.max_steps or config.minutes
        if at.n_steps and begun is not None and begun != now:
            before, at.n_steps = at.n_steps, plan_new_length(at, config)
            say(f"going on at step {at.step:,}, to {at.n_steps:,} steps instead of {before:,}")
        at.minutes, at.max_steps = config.minutes, config.max_steps

    def _one_step(self, log: MetricsLog) -> None:
        """One update, and the row of the last one that is done."""
        at, config = self.position, self.config
        started, waited = self.clock(), self.loader.seconds_waited
        rate = rate_at(at.step, at.n_steps, config.schedule)
        loss, norm, beside = self._update(at.step, rate)
        row: Row = {
            "step": at.step,
            "loss": None,
            "bits_per_byte": None,
            "learning_rate": rate * config.optimizer.learning_rate,
            "grad_norm": None,
        }
        self.readings.add(row, loss, norm, beside)
        read = self.readings.take_ready()
        n_tokens = len(micro_batches(at.step, config)) * self.rates.tokens_per_micro_batch
        waited = self.loader.seconds_waited - waited
        n_left = at.n_steps - at.step - 1
        row |= self.rates.of_step(n_tokens, self.clock() - started, waited, n_left)
        row["n_steps"] = at.n_steps
        at.step += 1
        if self._heldout_is_due():
            row["heldout_loss"] = heldout_loss = self.heldout.measure(self.step_fn)
            if self.heldout.bits:
                row["language_bits"] = self.heldout.bits
            self._note_best(heldout_loss)
            self._tell_heldout()
        at.seconds += self.clock() - started
        row["seconds"] = round(at.seconds, 3)
        self._write(read, log)

    def _write(self, read: list[tuple[Row, float, float]], log: MetricsLog) -> None:
        """Complete the rows of steps that are done, and log them."""
        for row, loss, norm in read:
            is_finite = math.isfinite(loss) and math.isfinite(norm)
            if is_finite:
                row |= {"loss": loss, "bits_per_byte": self._bits_per_byte(loss)}
            row["grad_norm"] = norm if math.isfinite(norm) else None
            self.position.n_skipped += not is_finite
            self._in_a_row = 0 if is_finite else self._in_a_row + 1
            self._note_spike(row, loss if is_finite else None)
            if self._in_a_row >= _MAX_SKIPPED_IN_A_ROW:
                raise ConfigError(
                    f"the loss has not been finite for {self._in_a_row} steps; "
                    "lower the learning rates of the optimizer"
                )
            if self.ranks.is_main:
                log.write(**row)
                for tracker in self._trackers:
                    tracker.write(int(row["step"] or 0), numbers_of(row))
            self._shown = describe_step(row, is_starved=self.rates.is_starved)

    def _note_spike(self, row: Row, loss: float | None) -> None:
        """Name a batch that was skipped; remember the losses of the others."""
        step, is_spike = row["step"], bool(row.pop(_SPIKE, 0.0))
        if not is_spike and loss is not None:
            note_loss(self.position, step, loss)
            return
        first = micro_batches(step + self.position.batch_offset, self.config)
        why = "loss or gradient is not finite" if loss is None else f"the loss jumped to {loss:.3f}"
        row["event"] = f"{why}: batches {first.start:,} to {first.stop - 1:,} were skipped"
        say(f"step {step:,}: {row['event']}")
        if is_spike:
            note_spike(self.position, step)

    def _roll_back(self, log: MetricsLog) -> None:
        """Go back to the last saved state, and on with batches that were not seen yet."""
        self._write(self.readings.take_ready(all_of_them=True), log)
        saved = self.saves.find()
        if saved is None:
            say("too many skipped batches, and no saved state to go back to; training goes on")
            self.position.recent_spikes = []
            return
        step, spikes = self.position.step, ", ".join(map(str, self.position.recent_spikes))
        self.position = go_back(self.position, saved)
        self.saves.load(self.optimizer, self.best, self.step_fn.state())
        self._checked = (saved.step, saved.seconds)
        event = f"the batches of steps {spikes} were skipped: back from step {step:,} to "
        event += f"{saved.step:,}, and on with batches not seen yet"
        say(event)
        if self.ranks.is_main:  # a resumed run keeps the rows before its step
            log.write(step=saved.step - 1, loss=None, seconds=saved.seconds, event=event)
        self._save(log)

    def _begin_best(self) -> dict[str, Tensor] | None:
        """A copy of the weights, where others will be measured against them."""
        is_measured = self.heldout.batches and self.config.n_heldout_evals
        return _clone(self.optimizer.weights()) if is_measured else None

    def _note_best(self, heldout_loss: float) -> None:
        at = self.position
        if self.best is None or at.best_loss is None:
            return
        if heldout_loss < at.best_loss:
            _copy(self.optimizer.weights(), self.best)
            at.best_loss, at.best_step, at.n_worse = heldout_loss, at.step, 0
            return
        at.n_worse += 1
        if self._patience and at.n_worse >= self._patience and at.step < at.n_steps:
            say(
                f"no lower held-out loss in {at.n_worse} measurements: training ends at step "
                f"{at.step:,} of {at.n_steps:,}"
            )
            at.n_steps = at.step

    def _tell_heldout(self) -> None:
        if self._on_heldout is not None:
            with self.step_fn.disable_compile():
                self._on_heldout(self.position.step)

    def _follow(self, order: Instruction) -> None:
        """A member of the crew does its part of what the first process does."""
        match order.kind:
            case Do.UPDATE:
                self._compute_update(order)
            case Do.FORGET:
                self.optimizer.forget()
            case Do.MEASURE:
                self.heldout.measure_own(self.step_fn)

    def _update(self, step: int, rate: float) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Update `step`, made at `rate` times the peak: its mean cross entropy, the norm of its
        gradient, and what else is to be told."""
        limit = limit_of(self.position, self.config.spikes) if rate else math.inf
        order = Instruction(Do.UPDATE, step + self.position.batch_offset, rate, limit)
        self.crew.tell(order)
        return self._compute_update(order)

    def _compute_update(self, order: Instruction) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        numbers = micro_batches(order.step, self.config)
        batches = (self.loader(number) for number in numbers)
        total, n = self.step_fn.accumulate(batches, self.optimizer)
        mean = self.optimizer.average(self.ranks, total / n)
        wanted = None if math.isinf(order.max_loss) else mean <= order.max_loss
        norm = self.optimizer.step(order.rate, n_summed=n, wanted=wanted)
        beside = self.step_fn.end_update(self.ranks, moves=order.rate > 0)
        if wanted is not None:
            beside = beside | {_SPIKE: ~wanted}
        return mean - beside.get("balance_loss", 0.0), norm, beside

    def _steps_in_time(self) -> int:
        """How many steps fill the minutes: a few are timed at rate 0, then undone."""
        seconds: list[float] = []
        longest = _MAX_TIMED_SHARE * self.config.minutes * 60
        while not seconds or (
            (len(seconds) < _TIMED_STEPS or sum(seconds) < _TIMED_SECONDS)
            and sum(seconds) < longest
        ):
            started = self.clock()
            _, norm, _ = self._update(len(seconds), 0.0)
            float(norm)  # waits until it is done
            seconds.append(self.clock() - started)
        started = self.clock()
        self.heldout.measure(self.step_fn)
        beside = (self.clock() - started) * self.config.n_heldout_evals
        self.crew.tell(Instruction(Do.FORGET))
        self.optimizer.forget()
        budget = seconds_left(self.position, self.config) - self._seconds_preparing()
        n_steps = max(1, int((budget - beside) / statistics.median(seconds)))
        n_steps = self.ranks.agree(n_steps)
        per_step = self.rates.tokens_per_micro_batch * self.config.accumulate
        shared = f"; {self.crew.n} processes share each batch" if self.crew.n > 1 else ""
        end = datetime.now().astimezone() + timedelta(seconds=budget)
        say(
            f"training {n_steps:,} steps of {per_step:,} tokens, "
            f"to be finished at about {end:%H:%M:%S}{shared}"
        )
        return n_steps

    def _replan_if_needed(self) -> int:
        """Twenty times a run: keep to the minutes if the machine became slower or faster."""
        at, config = self.position, self.config
        every = max(1, at.n_steps // 20)
        if config.max_steps is None and at.step % every == 0 and at.step < at.n_steps:
            then = self._checked
            pace = (at.seconds - then[1]) / max(1, at.step - then[0])
            planned = replan(at.step, at.n_steps, seconds_left(at, config), pace)
            planned = self.ranks.agree(planned)
            if planned != at.n_steps:
                say(f"the machine's speed has changed: {planned:,} steps instead of {at.n_steps:,}")
            at.n_steps = planned
            self._checked = (at.step, at.seconds)
        return at.n_steps

    def _heldout_is_due(self) -> bool:
        if not self.heldout.batches:
            return False
        at, n_evals = self.position, self.config.n_heldout_evals
        before, now = ((s * n_evals) // at.n_steps for s in (at.step - 1, at.step))
        return now > before

    def _limit_heldout(self) -> None:
        """Measure on no more held-out batches than MAX_HELDOUT_SHARE of the minutes allows.

        A resumed run measures on the same part: which weights are best depends on it.
        """
        at, config = self.position, self.config
        measured = self.heldout.batches
        if measured and config.max_steps is None and not at.n_heldout_batches:
            seconds = max(1e-9, self.heldout.seconds_per_batch(self.step_fn))
            budget = MAX_HELDOUT_SHARE * config.minutes * 60
            n_fitting = int(budget / seconds / (config.n_heldout_evals + 1))
            at.n_heldout_batches = self.ranks.agree(min(len(measured), max(1, n_fitting)))
        if at.n_heldout_batches:
            self.heldout.batches = measured[: at.n_heldout_batches]

    def _bits_per_byte(self, loss: float) -> float | None:
        return loss / math.log(2) / self.bytes_per_token if self.bytes_per_token else None

    def _save(self, log: MetricsLog) -> None:
        self._write(self.readings.take_ready(all_of_them=True), log)
        if self.ranks.is_main:
            log.sync()
        beside = self.step_fn.state()
        self.saves.save(self.position, self.optimizer, self.best, beside)

    @property
    def _dtype(self) -> torch.dtype:
        return choose_type(self.config.precision, self.device)

    def _make_optimizer(self) -> Optimizer:
        self.model.recompute = self.config.recompute
        if self._shards is None:
            weights = FlatWeights(self.model, self._dtype, self.crew)
            return FlatOptimizer(weights, self.config.optimizer)
        self._sharing = share_model(self.model, self._dtype, self._shards)
        return ShardedOptimizer(self.model, self.config.optimizer, self._sharing)

    def _make_step(
        self, make_step: Callable[..., LossStep], experts: ExpertsConfig | None
    ) -> LossStep:
        if self._sharing is not None and self._sharing.pipeline is not None:
            return PipelineStep(self.model, self._sharing, experts)
        windows = {"windows": self._sharing.windows} if self._sharing is not None else {}
        compiled = self.position.compiled
        return make_step(self.model, compiled=compiled, experts=experts, **windows)

    def _agree(self, wanted: bool) -> bool:
        """Where every process saves its part, the first decides when."""
        return bool(self.ranks.agree(int(wanted))) if self._shards else wanted


def _clone(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in weights.items()}


def _copy(weights: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    for name, tensor in into.items():
        tensor.copy_(weights[name])
