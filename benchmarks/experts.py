"""Latent attention and experts: the compiled loop beside the model's own operations.

A random model in the shape of DeepSeek-Coder-V2-Lite, made small, decodes 16 tokens after a prompt
of --context tokens, alone and 8 streams at a time; the sides take turns, figures are medians.

    python benchmarks/experts.py --context 256 --turns 3

Prints one JSON line per precision, streams and side. Not here: published models (packed.py).
"""

import argparse
import statistics
import time

import torch
from measuring import report

from codling.engine.opening import choose_dtype
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.scheduler import Batch
from codling.engine.sequence import Sequence
from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.transformer import Transformer

SHAPE = ModelConfig(
    vocab_size=16_384,
    hidden_size=768,
    intermediate_size=2_048,
    n_layers=9,
    n_heads=8,
    max_position=4_096,
    mla=MLAConfig(kv_lora_rank=256, qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64),
    moe=MoEConfig(
        n_routed_experts=32, n_shared_experts=2, n_experts_per_token=6, moe_intermediate_size=384
    ),
)
NEW = 16


def main() -> None:
    """Read the command line and let the sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["float32", "int8"])
    args = parser.parse_args()
    for precision in args.precisions:
        sides = {
            "compiled": open_runner(precision, args.context, fuse=True),
            "plain": open_runner(precision, args.context, fuse=False),
        }
        for n_streams in (1, 8):
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(args.turns):
                for name, runner in sides.items():
                    rates[name].append(decode(runner, n_streams, args.context))
            medians = {name: round(statistics.median(all_), 1) for name, all_ in rates.items()}
            report(precision=precision, streams=n_streams, tokens_per_second=medians)
        for runner in sides.values():
            runner.close()


def open_runner(precision: str, context: int, *, fuse: bool) -> Runner:
    """The same random weights as the engine would hold them."""
    dtype = choose_dtype(precision, torch.device("cpu"))
    model = Transformer(SHAPE, torch.Generator().manual_seed(0)).to(dtype).eval()
    bits = 8 if precision == "int8" else None
    length = context + NEW + 1
    return Runner(model, n_slots=8, max_length=length, fuse=fuse, bits=bits)


@torch.inference_mode()
def decode(runner: Runner, n_streams: int, context: int) -> float:
    """Tokens per second of all streams together, the prompts' time left out."""
    numbers = torch.Generator().manual_seed(1)
    prompt = torch.randint(0, SHAPE.vocab_size, (context,), generator=numbers).tolist()
    sequences = [Sequence(prompt, SamplingParams()) for _ in range(n_streams)]
    rows, none = list(range(n_streams)), [0] * n_streams
    runner.run(Batch(sequences, [prompt] * n_streams, rows, none, none))
    started = time.perf_counter()
    for i in range(NEW):
        chunks = [[i + row] for row in rows]
        starts = [context + i] * n_streams
        runner.run(Batch(sequences, chunks, rows, starts, none))
    return NEW * n_streams / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
