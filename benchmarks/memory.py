"""What the memory of a repository costs per token, at up to 1 GB of indexed text.

A real text is indexed once and then repeated: the order of a text that stands there k times is that
of the text, each position k times over, so that an index of any size is made in seconds. Matches
are then as long and as many as they can be: the dearest case.

    python benchmarks/memory.py MODEL [--megabytes 1000] [--source FOLDER]

Prints bytes per token, microseconds per look-up and per mixed row (median, p95), and the same as a
share of one token of MODEL's own decoding.
"""

import argparse
import statistics
import sysconfig
import time
from pathlib import Path

import numpy as np

from codling.engine.memory.index import MAX_MATCH, SuffixIndex
from codling.engine.memory.mixture import Weights
from codling.engine.memory.recall import Recall
from codling.engine.memory.repository import Memory, MemoryFile
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.tokens.tokenizer import Tokenizer

BASE_BYTES = 8_000_000


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--source", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--tokens", type=int, default=400)
    args = parser.parse_args()
    with TextEngine.open(args.model, precision="int8", max_streams=1, max_length=1024) as engine:
        memory = repeated(engine.tokenizer, args.source, args.megabytes * 1_000_000)
        n = memory.n_tokens
        print(f"{n:,} tokens, {memory.n_bytes / n:.2f} bytes per token")
        looks, mixes = measure(memory, engine.config.vocab_size, args.tokens)
        token = decode_seconds(engine, memory)
        for name, seconds in (("look-up", looks), ("mixed row", mixes)):
            middle, high = statistics.median(seconds), np.quantile(seconds, 0.95)
            print(
                f"{name}: {middle * 1e6:.0f} us (p95 {high * 1e6:.0f}), "
                f"{middle / token:.1%} of a token's {token * 1e3:.2f} ms"
            )


def repeated(tokenizer: Tokenizer, source: Path, n_bytes: int) -> Memory:
    """The memory of files of `source`, again and again up to `n_bytes`."""
    texts: list[str] = []
    for path in sorted(source.rglob("*.py")):
        if sum(map(len, texts)) > BASE_BYTES:
            break
        texts.append(path.read_text("utf-8", "replace"))
    begun = time.perf_counter()
    once = SuffixIndex.build([tokenizer.encode(text) for text in texts], tokenizer.vocab_size)
    print(f"indexed {len(once.tokens):,} tokens in {time.perf_counter() - begun:.1f} s")
    k = max(1, n_bytes // sum(len(text.encode()) for text in texts))
    shifts = np.arange(k, dtype=np.int32) * len(once.tokens)
    order = (once.order.astype(np.int32)[:, None] + shifts).ravel()
    starts = (shifts[:, None] + once.file_starts).ravel()
    index = SuffixIndex(np.tile(once.tokens, k), order, starts)
    files = [MemoryFile(f"{i}.py", "bench", "PSF-2.0") for i in range(len(starts))]
    return Memory(tokenizer, files, index, Weights.default())


def measure(memory: Memory, vocab_size: int, n: int) -> tuple[list[float], list[float]]:
    """Seconds of look-ups alone, and of whole mixed rows, over texts that stand in the memory."""
    rng = np.random.default_rng(0)
    looks, mixes = [], []
    for _ in range(n):
        at = int(rng.integers(1000, len(memory.index.tokens)))
        prompt = memory.index.tokens[at - 900 : at].astype(np.int64)
        prompt = prompt[prompt < vocab_size]
        begun = time.perf_counter()
        memory.recall(prompt[-MAX_MATCH:])
        looks.append(time.perf_counter() - begun)
        recall = Recall(memory, prompt.tolist(), 4)
        row = rng.standard_normal(vocab_size).astype(np.float32)
        begun = time.perf_counter()
        recall.mix(row)
        mixes.append(time.perf_counter() - begun)
    return looks, mixes


def decode_seconds(engine: TextEngine, memory: Memory) -> float:
    """One token without the memory, the best of five runs."""
    prompt = [int(i) for i in memory.index.tokens[1:301]]
    params = SamplingParams(max_tokens=48, ignore_eos=True)
    times = []
    for _ in range(5):
        stream = engine.submit(prompt, params)
        next(iter(stream))
        begun = time.perf_counter()
        n = len(stream.result().token_ids)
        times.append((time.perf_counter() - begun) / max(1, n - 1))
    return min(times)


if __name__ == "__main__":
    main()
