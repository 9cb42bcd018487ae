"""The cache of latent attention against its multi-head and grouped-query twins.

Prints one JSON line per kind: bytes per token (by allocation and by formula), the longest context
of one stream and the most streams of --context tokens in a fixed memory, and tokens per second when
that many streams decode together.

    python benchmarks/kv.py --mib 256 --context 2048 --steps 4

The twins share width, layers, heads, MLP and vocabulary; only attention differs.
"""

import argparse
import json
import statistics
import time
from dataclasses import replace

import torch

from codling.model.cache import KVCache
from codling.model.config import MLAConfig, ModelConfig
from codling.model.transformer import Transformer

MHA = ModelConfig(
    vocab_size=8_192,
    hidden_size=2_048,
    intermediate_size=5_504,
    n_layers=4,
    n_heads=16,
    max_position=65_536,
    init_std=0.02,
)
KINDS = {
    "mha": MHA,
    "gqa-4": replace(MHA, n_kv_heads=4),
    # Lite's widths.
    "mla": replace(MHA, mla=MLAConfig()),
}


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--context", type=int, default=2_048)
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    for kind, config in KINDS.items():
        with torch.inference_mode():
            row = measure(config, arguments.mib * 2**20, arguments.context, arguments.steps)
        print(json.dumps({"benchmark": "kv", "kind": kind, **row}), flush=True)


def measure(config: ModelConfig, budget: int, context: int, steps: int) -> dict[str, object]:
    """Capacity of `budget` bytes, and the speed of a full load."""
    dtype = torch.bfloat16
    formula = config.kv_elements_per_token * dtype.itemsize
    allocated = KVCache.allocate(config, 2, 128, dtype=dtype).n_bytes / (2 * 128)
    n_streams = budget // (formula * context)
    cache = KVCache.allocate(config, n_streams, context, dtype=dtype)
    for store in cache.stores:
        for tensor in store:
            tensor.uniform_(-1.0, 1.0)
    # The streams are full but for the tokens to be decoded.
    cache.advance(context - steps - 1)
    with torch.device("meta"):
        model = Transformer(config).to(dtype).eval()
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.uniform_(-0.02, 0.02)
    seconds = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        model.logits(model(torch.zeros(n_streams, 1, dtype=torch.int64), cache=cache)[:, -1])
        seconds.append(time.perf_counter() - started)
        cache.advance(1)
    return {
        "bytes_per_token": allocated,
        "bytes_per_token_formula": formula,
        "longest_context": budget // formula,
        "streams": n_streams,
        "tokens_per_second": round(n_streams / statistics.median(seconds[1:]), 1),
        "cache_mib": round(cache.n_bytes / 2**20, 1),
        "context": context,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
