"""Decoding on a GPU: the recorded step beside the plain model and transformers, and the roofline.

Random weights in bfloat16 of a preset's shape, rows that hold --context random tokens, --new tokens
each. The roofline is what the device's memory gives: the weights that a step reads (of experts
those that the tokens choose at most) and the rows' keys and values once per step, at the speed at
which the device copies a gigabyte in the same run. transformers decodes with a static cache and
torch.compile, where it knows the shape.

    python benchmarks/gpu_decode.py coder-1.3b --batches 1 64
    python benchmarks/gpu_decode.py v2-lite --batches 1 64 --no-peer
    python benchmarks/gpu_decode.py tiny-gqa --device cpu --context 64 --new 8   # a rehearsal

Prints one JSON line per batch and side. Not here: the CPU's loop (decode.py, packed.py).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import report

from codling.checkpoint.store import save_hf
from codling.engine.static_step import StaticStep
from codling.model.cache import KVCache
from codling.model.config import ModelConfig
from codling.model.moe import MoE
from codling.model.presets import preset
from codling.model.transformer import Transformer

Side = Callable[[int], None]
"""Decodes so many tokens in every row."""


def main() -> None:
    """Read the command line; measure each batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", help="a preset, such as coder-1.3b or v2-lite")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--context", type=int, default=1_024)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--peer", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    config, device = preset(args.shape), torch.device(args.device)
    with torch.device(device):
        model = Transformer(config).to(torch.bfloat16).eval()
    gb_per_second = memory_gb_per_second(device)
    for n_rows in args.batches:
        cache = KVCache.allocate(
            config, n_rows, args.context + args.new + 2, torch.bfloat16, device
        )
        fill(cache, args.context)
        sides = {
            "recorded": recorded(model, cache, args.context),
            "plain": plain(model, cache, args.context),
        }
        if args.peer:
            sides["transformers"] = peer(model, config, n_rows, args)
        n_bytes = bytes_of_step(model, n_rows) + cache.n_bytes * args.context // cache.max_length
        for side, run in sides.items():
            seconds = measure(run, args.new, args.turns, device)
            if side == "transformers":  # reads its prompt each time
                seconds -= measure(run, 1, args.turns, device)
            rate = n_rows * args.new / seconds
            roof = n_rows * gb_per_second * 1e9 / n_bytes
            report(
                shape=args.shape,
                rows=n_rows,
                side=side,
                tokens_per_second=round(rate, 1),
                share_of_roofline=round(rate / roof, 3),
                gb_per_second=round(gb_per_second),
            )


@torch.inference_mode()
def measure(run: Side, n_new: int, turns: int, device: torch.device) -> float:
    """The median of the turns in seconds, after one that records or compiles."""
    seconds = []
    for _ in range(turns + 1):
        synchronize(device)
        began = time.perf_counter()
        run(n_new)
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def recorded(model: Transformer, cache: KVCache, context: int) -> Side:
    """The engine's step, each token greedily from the one before."""
    static, rows = StaticStep(model, cache), list(range(cache.n_rows))

    def run(n_new: int) -> None:
        tokens = [1] * len(rows)
        for i in range(n_new):
            logits_WV = static.step([[t] for t in tokens], rows, [context + i] * len(rows))
            tokens = logits_WV.argmax(-1).tolist()

    return run


def plain(model: Transformer, cache: KVCache, context: int) -> Side:
    """The model as it is, called from Python for each token."""

    def run(n_new: int) -> None:
        tokens_B = torch.ones(cache.n_rows, dtype=torch.int64, device=cache.stores[0][0].device)
        for i in range(n_new):
            cache.lengths_B = torch.full((cache.n_rows,), context + i)
            hidden_BLE = model(tokens_B[:, None], cache=cache)
            tokens_B = model.logits(hidden_BLE[:, -1]).float().argmax(-1)

    return run


def peer(model: Transformer, config: ModelConfig, n_rows: int, args: argparse.Namespace) -> Side:
    """transformers' generate on the same weights, after a prompt of `context` tokens."""
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        save_hf(model, config, Path(folder))
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(args.device)
    prompt_BL = torch.full((n_rows, args.context), 1, device=args.device)
    settings = {"do_sample": False, "cache_implementation": "static", "pad_token_id": 0}

    def run(n_new: int) -> None:
        theirs.generate(prompt_BL, min_new_tokens=n_new, max_new_tokens=n_new, **settings)

    return run


def fill(cache: KVCache, context: int) -> None:
    """Random keys and values, as if so many tokens had been read."""
    for tensor in (tensor for store in cache.stores for tensor in store):
        tensor[:, :, :context].normal_()


def bytes_of_step(model: Transformer, n_rows: int) -> int:
    """The bytes of the weights that a step reads: no embedding's table, and of each layer's experts
    no more than its tokens can choose."""
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    if not model.config.tie_embeddings:
        table = model.embed_tokens.weight
        n_bytes -= table.numel() * table.element_size()
    for module in model.modules():
        if isinstance(module, MoE):
            idle = max(0, module.moe.n_routed_experts - n_rows * module.moe.n_experts_per_token)
            n_expert = sum(p[0].numel() * p.element_size() for p in module.experts.parameters())
            n_bytes -= idle * n_expert
    return n_bytes


def memory_gb_per_second(device: torch.device) -> float:
    """Bytes read and written per second by a copy of half a gigabyte."""
    source = torch.zeros(1 << 28, dtype=torch.int16, device=device)
    target, seconds = torch.empty_like(source), []
    for _ in range(5):
        synchronize(device)
        began = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return 2 * source.numel() * source.element_size() / 1e9 / min(seconds)


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
