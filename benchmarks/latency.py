"""A line in the editor, in milliseconds: cold, after a typed character, and beside busy processes.

Greedy requests of random tokens that no turn repeats: 12 tokens after 600 (cold); the same with one
character more before a suffix of 200, which is computed again (PSM) or stands in front and is kept
(SPM); ours alone with one more letter of a word, which leaves the prompt in PSM as it is and is
written again by the answer (two tokens more); and, on a quiet machine, the first token after 16
more on 2,000 that are there. Both engines hold the same GGUF file and take turns; without a file
ours alone has a random model of the size that `make run` grows. Each number of busy processes is a
phase of its own; figures are medians.

    python benchmarks/latency.py smollm2-135m-q8_0.gguf --busy 0 1
    python benchmarks/latency.py

Prints one JSON line per side and phase. Needs the extra `peers` with a file. Not here: tokens per
second (packed.py, decode.py), the server and the page (start.py, keystroke.py).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from decode import SMALL
from measuring import busy_processes, cpu_name, open_llama, report

from codling.checkpoint.load import load_model
from codling.checkpoint.store import save_hf
from codling.engine.engine import Engine
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.model.transformer import Transformer

LENGTH = 2_304
LINE = 12
Side = Callable[[list[int], int, int], float]
"""Milliseconds for a prompt of which the first so many tokens are there, and so many new ones."""


def main() -> None:
    """Read the command line; measure each phase."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", help="GGUF; default: random weights")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--busy", type=int, nargs="+", default=[0], help="busy processes beside")
    arguments = parser.parse_args()
    sides = {"codling": ours(arguments.file)}
    if arguments.file:
        sides["llama.cpp"] = peer(arguments.file)
    numbers = torch.Generator().manual_seed(0)
    measure(sides, numbers, 1, with_long=False)  # compiles
    for n_busy in arguments.busy:
        with busy_processes(n_busy):
            found = measure(sides, numbers, arguments.turns, with_long=not n_busy)
        for side, milliseconds in found.items():
            report(side=side, busy=n_busy, ms=milliseconds, machine=cpu_name())


def measure(
    sides: dict[str, Side], numbers: torch.Generator, turns: int, *, with_long: bool
) -> dict[str, dict[str, float]]:
    """The median of each kind of request on each side; `with_long` those on 2,000 tokens, too."""
    found: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
    for _ in range(turns):
        tokens = torch.randint(300, 8_000, (2_617,), generator=numbers).tolist()
        prefix, suffix, typed, long = tokens[:400], tokens[400:600], tokens[600], tokens[601:]
        requests = {
            "cold": (prefix + suffix, 0, LINE),
            "typed_psm": ([*prefix, typed, *suffix], 400, LINE),
            "typed_in_word": ([*prefix, typed, *suffix], 600, LINE + 2),
            "cold_spm": (suffix + prefix, 0, LINE),
            "typed_spm": ([*suffix, *prefix, typed], 600, LINE),
        }
        if with_long:
            requests |= {"2000": (long[:2_000], 0, 1), "16_more": (long, 2_000, 1)}
        for kind, request in requests.items():
            for side, run in sides.items():
                if kind == "typed_in_word" and side != "codling":
                    continue
                found[side].setdefault(kind, []).append(run(*request))
    return {
        side: {kind: round(statistics.median(all_), 1) for kind, all_ in kinds.items()}
        for side, kinds in found.items()
    }


def ours(file: Path | None) -> Side:
    """Our engine in 8 bits, stepped directly; it finds by itself what is there."""
    with tempfile.TemporaryDirectory() as folder:
        if file is None:
            save_hf(Transformer(SMALL), SMALL, Path(folder))
        model = load_model(file or Path(folder), dtype=torch.bfloat16, bits=8)
    engine = Engine(Runner(model, n_slots=2, max_length=LENGTH, fuse=True))

    def run(prompt: list[int], _there: int, n_new: int) -> float:
        engine.add(Sequence(list(prompt), SamplingParams(max_tokens=n_new)))
        started = time.perf_counter()
        while engine.busy:
            engine.step()
        return 1e3 * (time.perf_counter() - started)

    return run


def peer(file: Path) -> Side:
    """llama.cpp with as many threads, its cache kept up to what is there."""
    model = open_llama(file, LENGTH)

    def run(prompt: list[int], there: int, n_new: int) -> float:
        started = time.perf_counter()
        model.n_tokens = there
        model.eval(prompt[there:])
        for _ in range(n_new - 1):
            model.eval([model.sample(temp=0.0)])
        model.sample(temp=0.0)
        return 1e3 * (time.perf_counter() - started)

    return run


if __name__ == "__main__":
    main()
