"""Packed models: what is computed beside a request does not change a bit of its answer."""

import random
from dataclasses import replace

import pytest
import torch

from codling.engine.engine import Engine
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.transformer import Transformer

DENSE = ModelConfig(
    vocab_size=97,
    hidden_size=64,
    intermediate_size=64,
    n_layers=2,
    n_heads=2,
    max_position=128,
    init_std=0.3,
)
EXPERTS = replace(
    DENSE,
    mla=MLAConfig(kv_lora_rank=24, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16),
    moe=MoEConfig(
        n_routed_experts=8, n_shared_experts=1, n_experts_per_token=2, moe_intermediate_size=32
    ),
)


def answers(engine: Engine, prompts: list[list[int]]) -> list[list[tuple[int, float | None]]]:
    """Tokens and log-probabilities of prompts that run together, on an empty cache."""
    engine.scheduler.forget()
    sequences = [Sequence(p, SamplingParams(max_tokens=4, logprobs=0)) for p in prompts]
    for sequence in sequences:
        engine.add(sequence)
    made: dict[Sequence, list[tuple[int, float | None]]] = {s: [] for s in sequences}
    while engine.busy:
        for token in engine.step():
            made[token.sequence].append((token.id, token.logprob))
    return list(made.values())


@pytest.mark.parametrize("shape", [DENSE, EXPERTS], ids=["dense", "experts"])
def test_prompts_of_packed_models_have_the_same_bits_alone_and_together(shape: ModelConfig) -> None:
    numbers = random.Random(0)
    # Of experts, short prompts go through the compiled loop and long ones do not.
    prompts = [[numbers.randrange(97) for _ in range(n)] for n in (13, 40, 9, 90, 2)]
    model = Transformer(shape, torch.Generator().manual_seed(1)).to(torch.bfloat16)
    engine = Engine(Runner(model, n_slots=8, max_length=128, fuse=True, bits=4))
    alone = [answers(engine, [prompt])[0] for prompt in prompts]
    assert answers(engine, prompts) == alone
    engine.runner.close()
