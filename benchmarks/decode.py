"""Decoding one stream on the CPU: our engine in its precisions beside transformers' generate.

All sides hold the same weights and take turns in one process, so that whatever else the machine
does meets all alike. Each turn continues a prompt of --prompt tokens by --new tokens, greedily; a
side's figure is the median over the turns of new tokens per second, prompt included.

    python benchmarks/decode.py                          # a random model of 16.9M parameters
    python benchmarks/decode.py --model weights/SmolLM2-135M-Instruct.Q4_1.gguf

Prints one JSON line per side. Needs the extra `dev`. Not here: a line's latency (latency.py).
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

from codling.checkpoint.load import load_model
from codling.checkpoint.store import save_hf
from codling.engine.engine import Engine
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.model.config import ModelConfig
from codling.model.packed.quantize import Bits
from codling.model.transformer import Transformer

SMALL = ModelConfig(
    vocab_size=8_192, hidden_size=384, intermediate_size=1_024, n_layers=6, n_heads=6
)
Side = Callable[[list[int], int], list[int]]


def main() -> None:
    """Read the command line and let the sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="checkpoint; default: random weights")
    parser.add_argument("--prompt", type=int, default=64, help="tokens")
    parser.add_argument("--new", type=int, default=64, help="tokens")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--sides", help="comma-separated; default: all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(arguments.model) if arguments.model else Transformer(SMALL)
        save_hf(model, model.config, Path(folder))
        sides = {
            name: make(Path(folder))
            for name, make in SIDES.items()
            if arguments.sides is None or name in arguments.sides.split(",")
        }
    numbers = torch.Generator().manual_seed(0)
    prompt = torch.randint(5, 8_000, (arguments.prompt,), generator=numbers).tolist()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    texts = {name: side(prompt, arguments.new) for name, side in sides.items()}  # warm-up
    for turn in range(arguments.turns):
        prompt[0] = 5 + turn  # so that no turn finds its prompt in the cache
        for name, side in sides.items():
            rates[name].append(arguments.new / seconds(side, prompt, arguments.new))
    base = statistics.median(rates["transformers-float32"])
    for name, values in rates.items():
        median = statistics.median(values)
        report(
            side=name,
            tokens_per_second=round(median, 1),
            best=round(max(values), 1),
            times_transformers_float32=round(median / base, 2),
            equal_tokens=shared(texts[name], texts["transformers-float32"]),
            parameters=model.n_parameters(),
            new=arguments.new,
        )


def ours(folder: Path, dtype: torch.dtype, *, fuse: bool = True, bits: Bits | None = None) -> Side:
    """Our engine, stepped directly."""
    runner = Runner(
        load_model(folder, dtype=dtype), n_slots=2, max_length=1024, fuse=fuse, bits=bits
    )
    engine = Engine(runner)

    def run(prompt: list[int], n_new: int) -> list[int]:
        sequence = Sequence(prompt, SamplingParams(max_tokens=n_new))
        engine.add(sequence)
        while engine.busy:
            engine.step()
        return sequence.tokens[len(prompt) :]

    return run


def peer(folder: Path, dtype: torch.dtype) -> Side:
    """transformers' generate with its cache."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    model.generation_config.eos_token_id = None

    def run(prompt: list[int], n_new: int) -> list[int]:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=n_new, do_sample=False
            )
        return out[0, len(prompt) :].tolist()

    return run


def seconds(side: Side, prompt: list[int], n_new: int) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    side(prompt, n_new)
    return time.perf_counter() - started


def shared(a: list[int], b: list[int]) -> int:
    """How many tokens two texts have in common at their start."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))


def report(**values: object) -> None:
    """Print one JSON line with the machine's versions."""
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    machine = {"threads": torch.get_num_threads(), "system": platform.machine()}
    print(json.dumps({**values, **machine, **versions}), flush=True)


SIDES: dict[str, Callable[[Path], Side]] = {
    "transformers-float32": lambda folder: peer(folder, torch.float32),
    "transformers-bfloat16": lambda folder: peer(folder, torch.bfloat16),
    "ours-float32": lambda folder: ours(folder, torch.float32),
    "ours-bfloat16": lambda folder: ours(folder, torch.bfloat16),
    "ours-int8": lambda folder: ours(folder, torch.bfloat16, bits=8),
    "ours-float32-plain": lambda folder: ours(folder, torch.float32, fuse=False),
}


if __name__ == "__main__":
    main()
