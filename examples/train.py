"""Samples become a tokenizer, tokens and a model. Stopped at any point, it goes on from there.

python examples/train.py runs/mine 30
"""

import sys
from dataclasses import replace
from pathlib import Path

from codling.core.artifact import Artifact
from codling.model.config import ModelConfig
from codling.tokens.bpe import TokenizerConfig, learn_tokenizer
from codling.tokens.pack import PackConfig, pack
from codling.train.pretrain import PretrainConfig, pretrain


def train(
    run_dir: Path, config: PretrainConfig, vocab_size: int = 4096, context: int = 512
) -> Artifact:
    """A checkpoint in `run_dir`, learned from the samples that examples/data.py left there."""
    samples, tokenizer, tokens = (run_dir / name for name in ("samples", "tokenizer", "tokens"))
    learn_tokenizer(TokenizerConfig(samples_dir=samples, out_dir=tokenizer, vocab_size=vocab_size))
    pack(PackConfig(samples_dir=samples, tokenizer_dir=tokenizer, out_dir=tokens, context=context))
    out_dir = run_dir / "checkpoint"
    return pretrain(replace(config, tokens_dir=tokens, tokenizer_dir=tokenizer, out_dir=out_dir))


if __name__ == "__main__":
    shape = ModelConfig(hidden_size=384, intermediate_size=1024, n_layers=8, n_heads=6)
    config = PretrainConfig(model=shape, minutes=float(sys.argv[2]))
    print(train(Path(sys.argv[1]), config).counts)
