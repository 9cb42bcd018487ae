"""Steps of one token per row as a GPU records them, here unrecorded: the plain model's answers."""

import random
from dataclasses import replace

import pytest
import torch

from codling.engine import reserved, runner
from codling.engine.engine import Engine
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.engine.static_step import StaticStep
from codling.model.cache import KVCache
from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.transformer import Transformer

HEADS = ModelConfig(
    vocab_size=97,
    hidden_size=64,
    intermediate_size=64,
    n_layers=2,
    n_heads=4,
    max_position=600,
    init_std=0.3,
)
GROUPS = replace(HEADS, n_kv_heads=2, qk_norm=True, tie_embeddings=True)
EXPERTS = replace(
    HEADS,
    mla=MLAConfig(kv_lora_rank=24, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16),
    moe=MoEConfig(
        n_routed_experts=8, n_shared_experts=1, n_experts_per_token=2, moe_intermediate_size=32
    ),
)
SHAPES = pytest.mark.parametrize(
    "shape", [HEADS, GROUPS, EXPERTS], ids=["heads", "groups", "latents-and-experts"]
)


@SHAPES
@torch.inference_mode()
def test_a_step_gives_the_plain_models_logits_for_any_rows(shape: ModelConfig) -> None:
    model = Transformer(shape, torch.Generator().manual_seed(1)).eval()
    numbers, n_rows = random.Random(0), 6
    texts = [[numbers.randrange(97) for _ in range(n)] for n in (3, 300, 40, 7, 255, 1)]
    cache = KVCache.allocate(shape, n_rows, 513)
    for row, text in enumerate(texts):
        model(torch.tensor([text[:-1]]), cache=cache.rows(row, row + 1)) if text[:-1] else None
    static = StaticStep(model, cache)
    for rows in ([4, 1], [0, 2, 5], [3], list(range(n_rows))):
        chunks, starts = [texts[r][-1:] for r in rows], [len(texts[r]) - 1 for r in rows]
        logits_WV = static.step(chunks, rows, starts)
        for logits_V, row in zip(logits_WV, rows, strict=True):
            expected_V = model.logits(model(torch.tensor([texts[row]]))[0, -1])
            torch.testing.assert_close(logits_V, expected_V, rtol=1e-4, atol=1e-4)


@SHAPES
@torch.inference_mode()
def test_a_full_row_keeps_its_last_token_while_others_go_on(shape: ModelConfig) -> None:
    model = Transformer(shape, torch.Generator().manual_seed(1)).eval()
    cache = KVCache.allocate(shape, 2, 9)
    text = [5, 8, 13, 21, 34, 55, 89, 1]
    model(torch.tensor([text]), cache=cache.rows(1, 2))
    before = [tensor[1, :, :8].clone() for store in cache.stores for tensor in store]
    static = StaticStep(model, cache)
    for start, token in enumerate(text):
        static.step([[token]], [0], [start])
    after = [tensor[1, :, :8] for store in cache.stores for tensor in store]
    assert all(map(torch.equal, before, after))
    # Both rows hold the same text now, one written by static steps.
    for tensor in (tensor for store in cache.stores for tensor in store):
        torch.testing.assert_close(tensor[0, :, :8], tensor[1, :, :8], rtol=1e-4, atol=1e-5)


@SHAPES
def test_the_engine_answers_as_the_plain_model_where_steps_are_static(
    shape: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Transformer(shape, torch.Generator().manual_seed(1)).eval()
    numbers = random.Random(0)
    prompts = [[numbers.randrange(97) for _ in range(n)] for n in (13, 40, 300, 2, 60)]
    for module in (runner, reserved):  # as on a GPU
        monkeypatch.setattr(module, "can_reserve", lambda _: False)
    taken = 0

    def step(self: StaticStep, *args: object) -> torch.Tensor:
        nonlocal taken
        taken += 1
        return plain_step(self, *args)  # type: ignore[arg-type]

    plain_step = StaticStep.step
    monkeypatch.setattr(StaticStep, "step", step)
    engine = Engine(Runner(model, n_slots=3, max_length=400))
    sequences = [Sequence(p, SamplingParams(max_tokens=n)) for n, p in enumerate(prompts, 9)]
    for sequence in sequences:
        engine.add(sequence)
    made: dict[Sequence, list[int]] = {each: [] for each in sequences}
    while engine.busy:
        for token in engine.step():
            made[token.sequence].append(token.id)
    assert taken > 10
    for prompt, answer in zip(prompts, made.values(), strict=True):
        tokens = list(prompt)
        with torch.inference_mode():
            for _ in answer:
                hidden_E = model(torch.tensor([tokens]))[0, -1]
                tokens.append(int(model.logits(hidden_E).argmax()))
        assert tokens[len(prompt) :] == answer
