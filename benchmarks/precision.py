"""What a precision costs and gains: bits per byte and tokens per second.

Every checkpoint is opened in every precision as the engine opens it. Bits per byte are those of the
first bytes of the code under a folder, in windows of 512 tokens, asked twice: through the model's
own code, which prompts take, and 16 tokens at a time through the compiled loop. Decoding is 64
tokens after a prompt of 64, the precisions in turns, medians. After a + stands the form of keys and
values.

    python benchmarks/precision.py smollm2-hf --bytes 30000

Prints one JSON line per checkpoint and precision. Not here: stored formats (export.py), peers
(packed.py).
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from measuring import report
from torch.nn import functional as F

from codling.checkpoint.load import load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.engine.opening import choose_dtype
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.scheduler import Batch
from codling.engine.sequence import Sequence
from codling.evaluate.heldout.score import held_out_windows

WINDOW = 512
STEP = 16
NEW = 64


def main() -> None:
    """Read the command line, open, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    default = ["float32", "bfloat16", "int8", "float32+int8", "int8+int8"]
    parser.add_argument("--precisions", nargs="+", default=default, help="PRECISION[+CACHE]")
    parser.add_argument("--code", type=Path, default=Path("src/codling/engine"))
    parser.add_argument("--bytes", type=int, default=30_000)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    for path in args.models:
        runners = {name: open_runner(path, name) for name in args.precisions}
        windows, n_bytes = cut_windows(path, args.code, args.bytes)
        rates: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(args.turns):
            for name, runner in runners.items():
                rates[name].append(decode(runner, windows[0][:64].tolist()))
        exact = 0.0
        for name, runner in runners.items():
            by_prompt, by_loop = (bits(runner, windows, n) / n_bytes for n in (WINDOW, STEP))
            exact = exact or by_prompt
            report(
                model=path.name,
                precision=name,
                bits_per_byte=round(by_prompt, 4),
                lost=f"{by_prompt / exact - 1:.2%}",
                by_loop=round(by_loop, 4),
                lost_by_loop=f"{by_loop / exact - 1:.2%}",
                tokens_per_second=round(statistics.median(rates[name]), 1),
            )
            runner.close()


def open_runner(path: Path, name: str) -> Runner:
    """A model as the engine holds it."""
    precision, _, form = name.partition("+")
    bits = {"int8": 8, "int4": 4}.get(precision)
    dtype = choose_dtype(precision, torch.device("cpu"))
    model = load_model(path, dtype=dtype, bits=bits)
    length = WINDOW + 1
    return Runner(model, n_slots=1, max_length=length, fuse=True, form=form or "auto")


def cut_windows(model: Path, code: Path, n_bytes: int) -> tuple[list[np.ndarray], float]:
    """The tokens of the first `n_bytes` of the Python files under `code`, and the bytes of those
    that are asked for."""
    tokenizer = open_tokenizer(model)
    text = "\n".join(p.read_text("utf-8") for p in sorted(code.rglob("*.py")))[:n_bytes]
    ids = np.array(tokenizer.encode(text))
    windows = held_out_windows(ids, WINDOW, len(ids))
    return windows, sum(len(tokenizer.token_bytes(i)) for w in windows for i in w[1:].tolist())


def feed(runner: Runner, tokens: list[int], start: int) -> torch.Tensor:
    """Logits after each of the tokens, which stand from position `start` on in row 0."""
    sequence = Sequence(tokens, SamplingParams())
    return runner.run(Batch([sequence], [tokens], [0], [start], [len(tokens) - 1]))


@torch.inference_mode()
def bits(runner: Runner, windows: list[np.ndarray], step: int) -> float:
    """Bits of the tokens after the first of each window, `step` tokens at a time."""
    nats = 0.0
    for window in windows:
        for start in range(0, len(window) - 1, step):
            piece = torch.from_numpy(window[start : start + step + 1].astype(np.int64))
            logits = feed(runner, piece[:-1].tolist(), start)
            nats += float(F.cross_entropy(logits, piece[1:], reduction="sum"))
    return nats / float(np.log(2))


@torch.inference_mode()
def decode(runner: Runner, prompt: list[int]) -> float:
    """Tokens per second after a prompt."""
    token = int(feed(runner, prompt, 0)[-1].argmax())
    started = time.perf_counter()
    for i in range(NEW):
        token = int(feed(runner, [token], len(prompt) + i)[-1].argmax())
    return NEW / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
