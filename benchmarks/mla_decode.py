"""Decoding one token with latent attention: ours (absorbed) against transformers, same weights.

Prints one JSON line. Both sides hold a cache of the same length and take turns, step by step, so
that whatever else the machine does meets both alike.

    python benchmarks/mla_decode.py --context 2048 --steps 8

The model has Lite's shape with fewer layers, experts and words. Needs the extra `dev`.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
import transformers

from codling.checkpoint.store import save_hf
from codling.model.cache import KVCache
from codling.model.config import ModelConfig
from codling.model.presets import PRESETS
from codling.model.transformer import Transformer

LITE = PRESETS["v2-lite"]
REDUCED = replace(
    LITE,
    vocab_size=8_192,
    n_layers=2,
    init_std=0.02,
    moe=replace(LITE.moe, n_routed_experts=8),
)


class Ours:
    """Our model with its latent cache."""

    def __init__(self, model: Transformer, context: int) -> None:
        """The cache is filled with noise: decoding costs the same."""
        self.model = model
        self.cache = KVCache.allocate(model.config, 1, context + 1)
        for (latents,) in self.cache.stores:
            latents.normal_()
        self.cache.advance(context)

    def feed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of the last token; the tokens join the cache."""
        hidden = self.model(tokens, cache=self.cache)
        self.cache.advance(tokens.shape[1])
        return self.model.logits(hidden[:, -1])

    def forget(self) -> None:
        """Take the last token out of the cache."""
        self.cache.advance(-1)


class Theirs:
    """transformers' model with its cache."""

    def __init__(self, model: torch.nn.Module, filled: KVCache) -> None:
        """The cache gets what `filled` holds; transformers keeps the two parts apart."""
        self.model = model
        self.cache = transformers.DynamicCache(config=model.config)
        rank = model.config.kv_lora_rank
        for layer, (latents,) in enumerate(filled.stores):
            used = latents[:, :, : int(filled.lengths_B[0])]
            self.cache.update(used[..., :rank].clone(), used[..., rank:].clone(), layer)

    def feed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of the last token; the tokens join the cache."""
        out = self.model(tokens, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        return out.logits[:, -1]

    def forget(self) -> None:
        """Take the last token out of the cache."""
        self.cache.crop(-1)


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--context", type=int, default=2_048)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    with torch.inference_mode():
        print(json.dumps(measure(REDUCED, arguments.context, arguments.steps)))


def measure(config: ModelConfig, context: int, steps: int) -> dict[str, object]:
    """Seconds per decoded token of both sides, medians over interleaved steps."""
    model = Transformer(config, torch.Generator().manual_seed(0)).eval()
    with tempfile.TemporaryDirectory() as folder:
        save_hf(model, config, Path(folder))
        twin = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ours = Ours(model, context)
    sides = {"codling": ours, "transformers": Theirs(twin.eval(), ours.cache)}
    token = torch.tensor([[1]])
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    logits = {}
    for _ in range(steps + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            logits[name] = side.feed(token)
            seconds[name].append(time.perf_counter() - started)
            side.forget()
    # The first step warms up.
    median = {name: statistics.median(s[1:]) for name, s in seconds.items()}
    return {
        "benchmark": "mla_decode",
        "context": context,
        "layers": config.n_layers,
        "parameters": model.n_parameters(),
        "milliseconds": {name: round(1e3 * s, 2) for name, s in median.items()},
        "speedup": round(median["transformers"] / median["codling"], 2),
        "largest_difference": float((logits["codling"] - logits["transformers"]).abs().max()),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


if __name__ == "__main__":
    main()
