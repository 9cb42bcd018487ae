"""Packed matrices beside llama.cpp: decoding, prompts, and the memory's speed in the same run.

All sides hold the same GGUF files and take turns; a figure is the median of the turns. Decoding is
64 tokens after a prompt of 64, without the prompt's time. The memory's speed is that of two threads
that add up 256 MiB; a side's share of it is what it reads of its matrices per second.

    python benchmarks/packed.py smollm2-135m-q8_0.gguf smollm2-135m-q4_0.gguf

Prints one JSON line per side and file. Needs the extra `peers`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import open_llama
from numba import njit

from codling.checkpoint.load import load_model
from codling.engine.engine import Engine
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence

Side = Callable[[list[int], int], tuple[float, float]]
"""Seconds to the first of n tokens after a prompt, and to the last."""
LENGTH = 2304
NEW = 64


def main() -> None:
    """Read the command line and let the sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--prompts", type=int, nargs="*", default=[600, 2000])
    arguments = parser.parse_args()
    sides: dict[str, tuple[Side, int]] = {}
    for file in arguments.files:
        sides[f"llama.cpp {file.name}"] = (peer(file), 0)
        sides[f"codling {file.name}"] = ours(file)
    numbers = np.random.default_rng(0)
    tokens = [int(n) for n in numbers.integers(300, 8_000, max([64, *arguments.prompts]))]
    for run, _ in sides.values():
        run(tokens[:64], 8)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
    memory = []
    for _ in range(arguments.turns):
        memory.append(memory_gb_per_second())
        for name, (run, _) in sides.items():
            first, last = run(tokens[:64], NEW + 1)
            found[name].setdefault("decoded", []).append(NEW / (last - first))
            for n in arguments.prompts:
                first, _ = run(tokens[:n], 1)
                found[name].setdefault(f"prompt_{n}", []).append(n / first)
    speed = statistics.median(memory)
    for name, (_, n_bytes) in sides.items():
        rates = {kind: round(statistics.median(all_), 1) for kind, all_ in found[name].items()}
        share = round(rates["decoded"] * n_bytes / 1e9 / speed, 2) if n_bytes else None
        line = {"side": name, "tokens_per_second": rates, "share_of_memory_speed": share}
        print(json.dumps({**line, "memory_gb_per_second": round(speed, 1)}), flush=True)


def ours(file: Path) -> tuple[Side, int]:
    """Our engine, stepped directly, and the bytes of its matrices."""
    model = load_model(file, dtype=torch.bfloat16, bits=8)
    runner = Runner(model, n_slots=2, max_length=LENGTH, fuse=True)
    engine = Engine(runner)
    matrices = {id(m): m.matrix for m in model.modules() if hasattr(m, "matrix")}
    n_bytes = sum({id(m): m.n_bytes for m in matrices.values()}.values())

    def run(prompt: list[int], n_new: int) -> tuple[float, float]:
        engine.scheduler.forget()  # as llama.cpp's reset: no prompt is taken over
        engine.add(Sequence(list(prompt), SamplingParams(max_tokens=n_new)))
        started, first = time.perf_counter(), 0.0
        while engine.busy:
            if engine.step() and not first:
                first = time.perf_counter() - started
        return first, time.perf_counter() - started

    return run, n_bytes


def peer(file: Path) -> Side:
    """llama.cpp with as many threads."""
    model = open_llama(file, LENGTH)

    def run(prompt: list[int], n_new: int) -> tuple[float, float]:
        model.reset()
        started = time.perf_counter()
        model.eval(prompt)
        token = model.sample(temp=0.0)
        first = time.perf_counter() - started
        for _ in range(n_new - 1):
            model.eval([token])
            token = model.sample(temp=0.0)
        return first, time.perf_counter() - started

    return run


def memory_gb_per_second() -> float:
    """How fast two threads read."""
    numbers = np.ones(32 << 20, dtype=np.uint64)
    halves = np.split(numbers, 2)
    _add_up(halves[0][:8])
    with ThreadPoolExecutor(2) as pool:
        started = time.perf_counter()
        list(pool.map(_add_up, halves))
        return numbers.nbytes / (time.perf_counter() - started) / 1e9


@njit(nogil=True)
def _add_up(numbers: Any) -> Any:  # noqa: ANN401
    total = np.uint64(0)
    for i in range(numbers.shape[0]):
        total += numbers[i]
    return total


if __name__ == "__main__":
    main()
