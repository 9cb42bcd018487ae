"""How steady training is beside other work: tokens per second quiet, and beside busy processes.

The model is that of `codling grow` without a recipe (d 256, 4 layers, vocabulary 4096, 8 windows of
512 tokens, Muon), the tokens are random. Each way of computing is a process of its own, as a user
would start it; while it trains, processes that do nothing but count are started beside it and ended
again. A figure is the tokens of the steps of such a phase, over their seconds; the first step
of a phase does not count. `shares` is what training, and all its neighbours, had of the processors
in the phase: together less than 1 means that something else was running.

    python benchmarks/steady.py --repeats 3

Ways: `processes` (one per core, one thread each), `threads` (of one process, waiting passively),
`spinning` (the same as OpenMP waits by default), `one` (a single thread). Prints one JSON line per
way and repeat, and a last one with the medians. `--way` is how it calls itself.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from measuring import busy_processes, cpu_name, processor_seconds, report

WAYS = {
    "processes": {"processes": 0},
    "threads": {"processes": 1},
    "spinning": {"processes": 1},
    "one": {"threads": 1},
}
VOCABULARY, ROWS, CONTEXT = 4096, 8, 512


def main() -> None:
    """Read the command line; measure all ways in turn, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each phase")
    parser.add_argument("--busy", default="0,1,2", help="how many busy processes in each phase")
    parser.add_argument("--ways", default="processes,threads,spinning", help="which, in turns")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        train(arguments.way, compiled=not arguments.eager)
        return
    compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Let the ways take turns; print every figure, and the medians with their shares of quiet."""
    ways, busy = arguments.ways.split(","), [int(n) for n in arguments.busy.split(",")]
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    for repeat in range(arguments.repeats):
        for way in ways:
            phases = measure(way, busy, arguments)
            found[way].append([each.rate for each in phases])
            report(
                way=way,
                repeat=repeat,
                busy=busy,
                tokens_per_second=[round(each.rate) for each in phases],
                shares=[(round(each.own, 2), round(each.others, 2)) for each in phases],
            )
    medians = {
        way: [round(statistics.median(kind)) for kind in zip(*rows, strict=True)]
        for way, rows in found.items()
    }
    report(
        date=date.today().isoformat(),
        machine=cpu_name(),
        busy=busy,
        repeats=arguments.repeats,
        tokens_per_second=medians,
        share_of_quiet={way: [round(r / row[0], 3) for r in row] for way, row in medians.items()},
    )


@dataclass(frozen=True)
class Phase:
    """What was measured: tokens per second, and shares of all processors' time."""

    rate: float
    own: float
    others: float


def measure(way: str, busy: list[int], arguments: argparse.Namespace) -> list[Phase]:
    """One way, beside each number of busy processes."""
    command = [sys.executable, __file__, "--way", way, *(["--eager"] if arguments.eager else [])]
    environment = dict(os.environ)
    if way == "spinning":  # OpenMP's own defaults, written out so that nothing else is set
        environment |= {"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "30000000000"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as side:
        assert side.stdout is not None
        for _ in range(4):  # compiling, and what the first steps still make
            side.stdout.readline()
        phases = [measure_phase(side, n, arguments.seconds) for n in busy]
        side.kill()
    return phases


def measure_phase(side: "subprocess.Popen[str]", n_busy: int, seconds: float) -> Phase:
    """Whole steps within about so many seconds."""
    assert side.stdout is not None
    end = time.monotonic() + seconds
    times: list[float] = []
    used: list[tuple[float, float]] = []
    with busy_processes(n_busy) as neighbours:
        while len(times) < 3 or times[-1] < end:
            line = side.stdout.readline()
            if not line:
                sys.exit("the training ended")
            times.append(float(line))
            others = sum(processor_seconds(each.pid) for each in neighbours)
            used.append((processor_seconds(side.pid), others))
    passed = times[-1] - times[1]
    own, theirs = (
        (last - first) / passed / (os.cpu_count() or 1)
        for first, last in zip(used[1], used[-1], strict=True)
    )
    return Phase(ROWS * CONTEXT * (len(times) - 2) / passed, own, theirs)


def train(way: str, *, compiled: bool) -> None:
    """Train until killed; print the time at which each step asks for its batch."""
    from codling.core.threads import wait_passively

    wait_passively()  # as every verb begins
    import tempfile

    import torch

    from codling.model.config import ModelConfig
    from codling.model.transformer import Transformer
    from codling.train.config import LoopConfig
    from codling.train.trainer import Trainer

    shape = ModelConfig(vocab_size=VOCABULARY, max_position=CONTEXT)
    config = LoopConfig(
        max_steps=10**6, batch_size=ROWS, compile=compiled, save_seconds=1e7, **WAYS[way]
    )
    first = os.getpid()

    def batches(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if os.getpid() == first:
            print(time.monotonic(), flush=True)
        generator = torch.Generator().manual_seed(number)
        tokens = torch.randint(0, VOCABULARY, (ROWS, CONTEXT + 1), generator=generator)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    with tempfile.TemporaryDirectory() as folder:
        Trainer(Transformer(shape), batches, config, Path(folder), crew=True).run()


if __name__ == "__main__":
    main()
