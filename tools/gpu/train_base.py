"""Train the base model within a given time, on one GPU or, to rehearse, on the CPU.

    python tools/gpu/train_base.py DATA --recipe recipes/base.toml --run /dev/shm/run --out OUT \
        --seconds 560

Input: what pack_parts.py unpacked. First a probe of at most --probe-seconds: tokens/s of three
sizes of the micro-batch, of which the fastest is taken; the tokens of an update are the recipe's
all the same. Then codling's own loop, its schedule planned so that it has decayed to the end when
the time is over. Every --save-seconds RUN gets the state, from which the same command goes on after
any interruption, and OUT the weights in small files and the metrics. RUN/before-decay keeps the
last weights of the constant rate: a later run goes on from them (--start-from).

Prints a line of JSON per event. Not here: the loop (codling.train), the checkpoint that is made of
the weights (weight_files.py).
"""

import argparse
import gc
import json
import lzma
import math
import os
import signal
import statistics
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from weight_files import read_weights, recipe_config, write_weights

from codling.core.artifact import SHARDS
from codling.core.files import read_json_lines, replace_file, write_json
from codling.model.device import choose_device
from codling.model.sizes import flops_per_token, sizes
from codling.model.transformer import Transformer
from codling.tokens.token_files import read_meta
from codling.train.optim.flat import FlatWeights
from codling.train.optim.flat_optimizer import FlatOptimizer
from codling.train.parallel.ranks import Ranks
from codling.train.pretrain import PretrainConfig
from codling.train.run import train_on_tokens
from codling.train.state import load_weights, read_position
from codling.train.trainer import METRICS

_STATE = f"{SHARDS}/training.safetensors"
_PLAN = "plan.json"
_PROBE_STEPS = 12
_END_SECONDS, _PLANNING_SECONDS, _COMPILE_SECONDS = 20.0, 6.0, 25.0
"""For the files of all states; for steps that are timed and undone; for compiling, if not known."""


def main() -> int:
    """Probe, train, leave the weights; exit code 0 also where the time ended the run early."""
    options = arguments()
    run = Run.of(options)
    event("start", **about(run))
    options.run.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    config, compile_seconds = planned(run)
    train(run, config, compile_seconds)
    return 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="for the state: a fast disk")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=560.0, help="for everything")
    parser.add_argument("--steps", type=int, help="so many instead of what fits (rehearsals)")
    parser.add_argument("--probe-seconds", type=float, default=40.0)
    parser.add_argument("--save-seconds", type=float, default=30.0)
    parser.add_argument("--start-from", type=Path, help="folder of weight files to go on from")
    parser.add_argument("--seed", type=int, default=0, help="another one for a run that goes on")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="dense bf16, for MFU")
    return parser.parse_args()


def event(name: str, **figures: object) -> None:
    """A line of JSON."""
    print(json.dumps({"event": name, **figures}), flush=True)


@dataclass(frozen=True)
class Run:
    """What is trained, where, and until when."""

    options: argparse.Namespace
    config: PretrainConfig
    started: float

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Run":
        """From the command line; the clock runs from here."""
        started = time.monotonic()
        config = recipe_config(options.recipe, options.data / "tokens", options.data / "tokenizer")
        config = replace(
            config,
            device=options.device,
            seed=options.seed,
            save_seconds=options.save_seconds,
            n_heldout_evals=20,
            heldout_tokens=1 << 17,
        )
        return cls(options, config, started)

    @property
    def seconds_left(self) -> float:
        """Until the time is over."""
        return self.started + float(self.options.seconds) - time.monotonic()

    def model(self) -> Transformer:
        """Fresh weights, or those to go on from."""
        model = Transformer(self.config.model, torch.Generator().manual_seed(self.config.seed))
        if self.options.start_from is not None:
            read_weights(self.options.start_from, model)
        return model

    def mfu(self, tokens_per_second: float) -> float:
        """Share of the peak: 6 N + 12 L H Q T operations a token (forward, and twice backward)."""
        context = self.config.model.max_position
        flops = 3 * flops_per_token(self.config.model, context) * tokens_per_second
        return round(flops / (self.options.peak_tflops * 1e12), 4)


def about(run: Run) -> dict[str, Any]:
    """The machine, the model, the data."""
    device = choose_device(run.options.device)
    named = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    train = read_meta(run.config.tokens_dir).splits["train"]
    return {
        "device": named,
        "torch": torch.__version__,
        "parameters": sizes(run.config.model).total,
        "context": run.config.model.max_position,
        "train_tokens": train.n_tokens,
        "seconds": run.options.seconds,
    }


def planned(run: Run) -> tuple[PretrainConfig, float]:
    """The config with the micro-batch to train with, from an earlier start or from the probe."""
    plan = run.options.run / _PLAN
    if plan.is_file():
        kept = json.loads(plan.read_text())
        size, compile_seconds = kept["batch_size"], _COMPILE_SECONDS
    else:
        size, compile_seconds = probe(run)
        write_json(plan, {"batch_size": size})
    n_windows = run.config.batch_size
    config = replace(run.config, batch_size=size, accumulate=max(1, n_windows // size))
    return config, compile_seconds


def probe(run: Run) -> tuple[int, float]:
    """The fastest micro-batch, and the seconds that compiling took."""
    wanted = run.config.batch_size
    until = time.monotonic() + run.options.probe_seconds
    rates: dict[int, float] = {}
    compiling = 0.0
    for size in dict.fromkeys(max(1, n) for n in (wanted // 2, wanted, wanted // 4)):
        if rates and time.monotonic() + compiling > until:
            break
        started = time.monotonic()
        try:
            rates[size], seconds = speed(run, size)
        except torch.OutOfMemoryError:
            event("probe", batch_size=size, out_of_memory=True)
            continue
        compiling = max(compiling, time.monotonic() - started - seconds)
        event(
            "probe",
            batch_size=size,
            tokens_per_second=round(rates[size]),
            mfu=run.mfu(rates[size]),
            seconds_before=round(time.monotonic() - started - seconds, 1),
        )
    return max(rates, key=lambda size: rates[size]), compiling


def speed(run: Run, size: int) -> tuple[float, float]:
    """Tokens/s of a few steps with this micro-batch, and how long they took."""
    with tempfile.TemporaryDirectory(dir=run.options.run) as folder:
        config = replace(run.config, batch_size=size, max_steps=_PROBE_STEPS, n_heldout_evals=0)
        train_on_tokens(run.model(), config, config.tokens_dir, Path(folder), Ranks())
        rows = list(read_json_lines(Path(folder) / METRICS))
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    rates = [row["tokens_per_second"] for row in rows[_PROBE_STEPS // 2 :]]
    return statistics.median(rates), float(rows[-1]["seconds"])


def train(run: Run, config: PretrainConfig, compile_seconds: float) -> None:
    """The loop, until the schedule is at its end; whatever happens, the weights are left."""
    options = run.options
    before = read_position(options.run / _STATE)
    spent = before.seconds if before else 0.0
    reserve = _END_SECONDS + _PLANNING_SECONDS + compile_seconds
    seconds = max(0.5 * run.seconds_left, run.seconds_left - reserve)
    event(
        "train",
        batch_size=config.batch_size,
        accumulate=config.accumulate,
        minutes=round(seconds / 60, 2),
        resumed_at=before.step if before else 0,
    )
    config = replace(config, minutes=(spent + seconds) / 60, max_steps=options.steps)
    model = run.model()
    # Where the plan fails, the loop is asked to stop and save in time for the last files.
    alarm = threading.Timer(
        max(1.0, run.seconds_left - _END_SECONDS / 2), os.kill, (os.getpid(), signal.SIGTERM)
    )
    alarm.daemon = True
    alarm.start()
    keeper = Keeper(run, config)
    keeper.start()
    try:
        summary = train_on_tokens(model, config, config.tokens_dir, options.run, Ranks())
    except SystemExit:
        keeper.stop()
        event("cut short", **keeper.leave())
        return
    finally:
        alarm.cancel()
        keeper.stop()
    write_weights(model, options.out, summary.n_steps)
    keeper.leave_metrics()
    rate = summary.n_tokens / summary.seconds
    held = read_meta(config.tokens_dir).splits["heldout"]
    bits = None
    if summary.heldout_loss is not None:
        bits = summary.heldout_loss / math.log(2) / (held.n_bytes / held.n_tokens)
    event(
        "done",
        **asdict(summary),
        tokens_per_second=round(rate),
        mfu=run.mfu(rate),
        heldout_bits_per_byte=bits,
        seconds_left=round(run.seconds_left, 1),
    )


class Keeper(threading.Thread):
    """Leaves the weights and the metrics of every new state in OUT."""

    def __init__(self, run: Run, config: PretrainConfig) -> None:
        super().__init__(daemon=True)
        self.run_of, self.config = run, config
        self.state = run.options.run / _STATE
        self._stopping = threading.Event()
        self._seen = 0

    def run(self) -> None:
        """Look every second, until stopped."""
        while not self._stopping.wait(1.0):
            changed = self.state.stat().st_mtime_ns if self.state.is_file() else 0
            if changed not in (0, self._seen):
                self._seen = changed
                event("state", **self.leave())

    def stop(self) -> None:
        """Wait for what is being written."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def leave(self) -> dict[str, object]:
        """Write what the state holds, and say where the run stands."""
        options = self.run_of.options
        if not self.state.is_file():
            return {"step": 0}
        model = Transformer(self.config.model)
        weights = FlatWeights(model, torch.float32)
        at = load_weights(self.state, FlatOptimizer(weights, self.config.optimizer))
        write_weights(model, options.out, at.step)
        schedule = self.config.schedule
        decays = schedule.decay_from if schedule.name == "wsd" else 0.0
        if at.step <= decays * at.n_steps:
            write_weights(model, options.run / "before-decay", at.step)
        last = self.leave_metrics()
        rate = last.get("tokens_per_second") or 0.0
        return {
            "step": at.step,
            "of": at.n_steps,
            "loss": last.get("loss"),
            "heldout_loss": last.get("heldout_loss"),
            "tokens_per_second": rate,
            "mfu": self.run_of.mfu(rate),
            "seconds_waited": last.get("seconds_waited"),
            "seconds_left": round(self.run_of.seconds_left, 1),
        }

    def leave_metrics(self) -> dict[str, Any]:
        """The metrics, compressed; gives the last row, with the newest held-out loss."""
        metrics = self.run_of.options.run / METRICS
        rows = list(read_json_lines(metrics))
        target = self.run_of.options.out / f"{METRICS}.xz"
        with replace_file(target) as temporary:
            temporary.write_bytes(lzma.compress(metrics.read_bytes(), preset=1))
        held = [row["heldout_loss"] for row in rows if "heldout_loss" in row]
        return {**(rows[-1] if rows else {}), "heldout_loss": held[-1] if held else None}


if __name__ == "__main__":
    raise SystemExit(main())
